"""What ``bps`` calls: submit, report, status, cancel, restart, ping."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from lsst.ctrl.bps import BaseWmsService, BpsConfig, GenericWorkflow, WmsRunReport, WmsStates
from lsst.daf.butler import Config

from isr.errors import IsrError
from pipeline.bps.driver import Driver, find_driver, last_error, start_driver, stop_driver
from pipeline.bps.ids import find_folder, folder_of_ids, new_id, submissions
from pipeline.bps.states import FINAL, Situation
from pipeline.bps.submission import LOG, STATUS, Submission, read_json
from pipeline.bps.workflow import DaskWorkflow, check_configuration

__all__ = ["DaskService"]

_PATIENCE = 120.0  # seconds that a driver has to end
_DAY = 86_400.0  # seconds
_PINGED = "local:1"


class DaskService(BaseWmsService):  # type: ignore[misc] # LSST's class has no types
    """Executes a workflow on a Dask cluster, by one driver process on the machine of ``bps submit``.

    Methods are those of `lsst.ctrl.bps.BaseWmsService`; ids are numbers of the
    user's submissions, or paths of submit folders.
    """

    @property
    def defaults(self) -> Config:
        """Changes to bps's defaults: the log of the driver is for people, without LSST's details."""
        return Config({"runPreCmdOpts": ""})

    def run_submission_checks(self) -> None:
        """Refuse a configuration that cannot be executed, before anything is made."""
        check_configuration(self.config)
        try:
            folder_of_ids()
        except OSError as error:
            raise click.ClickException(
                f"Ids of submissions cannot be kept: {error}. Name a folder by XDG_STATE_HOME."
            ) from error

    def prepare(
        self, config: BpsConfig, generic_workflow: GenericWorkflow, out_prefix: str | None = None
    ) -> DaskWorkflow:
        """Write what the driver is to do to the submit folder."""
        folder = out_prefix or str(config["submitPath"])
        workflow = DaskWorkflow.from_generic_workflow(
            config, generic_workflow, folder, f"{type(self).__module__}.{type(self).__name__}"
        )
        workflow.write(folder)
        return workflow

    def submit(self, workflow: DaskWorkflow, **kwargs: Any) -> DaskWorkflow:  # noqa: ARG002
        """Start the driver."""
        path = Path(workflow.submit_path)
        start_driver(path, workflow.submission)
        workflow.run_id = new_id(path)
        return workflow

    def restart(self, wms_workflow_id: str) -> tuple[str | None, str | None, str]:
        """Start the driver again: what is done is kept, in the same RUN."""
        found = find_folder(wms_workflow_id)
        submission = Submission.read(found[1]) if found else None
        if found is None or submission is None:
            return None, None, _unknown(wms_workflow_id)
        path = found[1]
        situation = _situation(path, submission, find_driver(path))
        if situation.run() is WmsStates.SUCCEEDED:
            return None, None, "everything is done"
        try:
            start_driver(path, submission)
        except click.ClickException as error:
            return None, None, error.message
        return new_id(path), submission.name, ""

    def report(
        self,
        wms_workflow_id: str | None = None,
        user: str | None = None,
        hist: float = 0,
        pass_thru: str | None = None,  # noqa: ARG002
        is_global: bool = False,  # noqa: ARG002
        return_exit_codes: bool = False,  # noqa: ARG002 - they cost nothing
    ) -> tuple[list[WmsRunReport], str]:
        """Return the states of one submission, or of the user's that are at work or ended lately."""
        if wms_workflow_id is None:
            since = time.time() - hist * _DAY
            return [report for _, path, report in _reports(user) if _is_recent(path, report, since)], ""
        found = find_folder(wms_workflow_id)
        submission = Submission.read(found[1]) if found else None
        if found is None or submission is None:
            return [], _unknown(wms_workflow_id)
        number, path = found
        driver = find_driver(path)
        situation = _situation(path, submission, driver)
        return [_report(number, path, submission, situation)], _message(path, driver, situation)

    def get_status(
        self,
        wms_workflow_id: str,
        hist: float = 1,  # noqa: ARG002
        is_global: bool = False,  # noqa: ARG002
    ) -> tuple[WmsStates, str]:
        """Return the state of a submission as a whole."""
        reports, message = self.report(wms_workflow_id)
        return (reports[0].state if reports else WmsStates.UNKNOWN), message

    def list_submitted_jobs(
        self,
        wms_id: str | None = None,
        user: str | None = None,
        require_bps: bool = True,  # noqa: ARG002
        pass_thru: str | None = None,  # noqa: ARG002
        is_global: bool = False,  # noqa: ARG002
    ) -> list[str]:
        """Return the ids that ``bps cancel`` means: one submission, or all of a user that are at work."""
        if wms_id is not None:
            found = find_folder(wms_id)
            return [found[0]] if found and Submission.read(found[1]) else []
        if user is None:
            return []
        return [number for number, _, report in _reports(user) if report.state is WmsStates.RUNNING]

    def cancel(self, wms_id: str, pass_thru: str | None = None) -> tuple[bool, str]:
        """End the driver; ``pass_thru`` is the number of seconds after which it is killed."""
        found = find_folder(wms_id)
        driver = find_driver(found[1]) if found else None
        if found is None or driver is None:
            return False, _unknown(wms_id)
        if not driver.is_here:
            return False, f"its driver is on {driver.host}: give the command there"
        if not driver.is_alive():
            state, _ = self.get_status(wms_id)
            return False, f"it has ended already: {state.name}"
        if not stop_driver(found[1], driver, float(pass_thru or _PATIENCE)):
            click.echo("The driver did not end and was killed; bps restart registers what is done.", err=True)
        return True, ""

    def ping(self, pass_thru: str | None = None) -> tuple[int, str]:
        """Tell whether a cluster answers or can be started; ``pass_thru`` names it like ``daskCluster``."""
        from pipeline.bps.ping import ping

        try:
            return 0, ping(pass_thru or _PINGED)
        except click.ClickException as error:
            return 1, error.message
        except IsrError as error:
            return 1, str(error)


def _unknown(name: str) -> str:
    return (
        f"There is no submission {name!r}. Ids are the numbers that bps submit prints (Run Id), or paths of "
        "submit folders; bps report --hist 1000 lists yours."
    )


def _situation(path: Path, submission: Submission, driver: Driver | None) -> Situation:
    status = read_json(path / STATUS)
    is_alive = driver.is_alive() if driver else False
    if is_alive is None:  # on another machine: only the file can tell
        is_alive = status.get("phase") != "end"
    return Situation(
        tasks=submission.tasks,
        status=status,
        was_started=driver is not None,
        is_alive=is_alive,
        is_canceled=bool(driver and driver.is_canceled),
    )


def _reports(user: str | None) -> Iterator[tuple[str, Path, WmsRunReport]]:
    """Yield id, submit folder and report of each submission."""
    for number, path in submissions():
        submission = Submission.read(path)
        if submission and user in (None, submission.attributes["operator"]):
            situation = _situation(path, submission, find_driver(path))
            yield number, path, _report(number, path, submission, situation)


def _is_recent(path: Path, report: WmsRunReport, since: float) -> bool:
    if report.state is WmsStates.RUNNING:
        return True
    return any(file.exists() and file.stat().st_mtime > since for file in (path / STATUS, path / LOG))


def _report(number: str, path: Path, submission: Submission, situation: Situation) -> WmsRunReport:
    counts = situation.counts()
    total: Counter[WmsStates] = Counter(dict.fromkeys(WmsStates, 0))
    for label in counts.values():
        total.update(label)
    attributes = submission.attributes
    return WmsRunReport(
        wms_id=number,
        global_wms_id=number,
        path=str(path),
        label=attributes["payload"],
        run=submission.name,
        project=attributes["project"],
        campaign=attributes["campaign"],
        payload=attributes["payload"],
        operator=attributes["operator"],
        site=attributes["runsite"],
        run_summary=";".join(f"{label}:{sum(states.values())}" for label, states in counts.items()),
        state=situation.run(),
        total_number_jobs=total.total(),
        job_state_counts=dict(total),
        job_summary=counts,
        exit_code_summary={label: [1] * states[WmsStates.FAILED] for label, states in counts.items()},
    )


def _message(path: Path, driver: Driver | None, situation: Situation) -> str:
    """Return what a user should know beyond the states."""
    if driver is None:
        return f"{path} was prepared, not submitted."
    if situation.is_alive and not driver.is_here:
        return f"The driver is on {driver.host}; only there can be told whether it is alive."
    state = situation.run()
    if state is WmsStates.DELETED:
        return f"Canceled; bps restart continues. Log: {path / LOG}"
    if state is WmsStates.FAILED:
        return f"{_reason(path, driver, situation)} bps restart tries what is not done. Log: {path / LOG}"
    return ""


def _reason(path: Path, driver: Driver, situation: Situation) -> str:
    counts = situation.counts()
    failed = sum(counts[label][WmsStates.FAILED] for label in situation.tasks)
    if failed and counts[FINAL][WmsStates.SUCCEEDED]:
        return f"{failed} quanta failed." if failed > 1 else "1 quantum failed."
    return f"The driver ended before its time. Its last words: {last_error(path, driver)}"
