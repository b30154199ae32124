"""Butler repositories and roles: what docs/container.md and docker/compose.yaml do, one by one."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

from tests.pgserver import PgServer
from tests.s3server import S3Server, free_ports
from tools.image.engine import Engine
from tools.image.reduction import NO_COMPILATION, require_no_compilation
from tools.image.report import CheckError, Report, call

__all__ = ["check_cluster", "check_repository"]

INPUTS = ("-i", "HSC/defaults", "-d", "visit=903334 AND detector=22")
SCHEDULER, WORKER = "isr-check-scheduler", "isr-check-worker"


def check_repository(report: Report, engine: Engine, data: Path) -> None:
    """A repository of SQLite and files, and workers in the same container."""
    volume = ("--network=none", f"--volume={data}:/data")

    def demo() -> str:
        engine.run("isr-repo", "demo", "/data/repo", "--detectors", "22", options=volume)
        words = ["isr-run", "-b", "/data/repo", *INPUTS, "-o", "u/me/isr", "--dask", "local:1"]
        pipeline = ["-p", "resource://pipeline/pipelines/visit.yaml"]
        start = time.monotonic()
        said = engine.run(*words, *pipeline, options=(*volume, NO_COMPILATION))
        seconds = round(time.monotonic() - start, 1)
        require_no_compilation(said.stdout + said.stderr)
        report.figures["butler_seconds"] = seconds
        return f"isr-repo demo, isr-run -b --dask local:1, 3 tasks: {seconds} s, no kernel compiled"

    def pipetask() -> str:
        words = ["pipetask", "run", "-b", "/data/repo", *INPUTS, "-o", "u/me/pipetask"]
        task = ["--register-dataset-types", "-t", "pipeline.task.IsrTask:isr"]
        said = engine.run(*words, *task, options=(*volume, NO_COMPILATION))
        require_no_compilation(said.stdout + said.stderr)
        return "pipetask run, no kernel compiled"

    if report.run("butler", demo):
        report.run("pipetask", pipetask)


def check_cluster(report: Report, engine: Engine, data: Path) -> None:
    """S3, PostgreSQL, a scheduler, a worker and commands; all on the loopback interface."""
    with ExitStack() as stack:
        s3, database = stack.enter_context(S3Server()), stack.enter_context(PgServer())
        database.create_database("isr")
        s3.client().create_bucket(Bucket="isr")
        port = free_ports(["scheduler"])["scheduler"]
        scheduler = f"tcp://127.0.0.1:{port}"
        where = f"postgresql://127.0.0.1:{database.port}/isr"
        login = [{"url": where, "username": database.user, "password": database.password}]
        objects = _write_variables(data.parent / "s3.env", s3.environment())
        both = _write_variables(data.parent / "db.env", {"LSST_DB_AUTH_CREDENTIALS": json.dumps(login)})
        quiet = ("--no-dashboard", "--host", "127.0.0.1")
        started = engine.running(SCHEDULER, "scheduler", *quiet, "--port", port, options=["--network=host"])
        with started:
            worker = ["worker", scheduler, *quiet, "--nthreads", 1]
            stack.enter_context(
                engine.running(WORKER, *worker, options=["--network=host", objects, NO_COMPILATION])
            )
            results = data / "results"  # butler retrieve-artifacts makes no folder
            results.mkdir()
            results.chmod(0o777)
            options = ("--network=host", objects, both, f"--volume={data}:/data")
            if report.run("roles", lambda: _see_each_other(report, engine)):
                report.run("cluster", lambda: _reduce(report, engine, scheduler, where, options))
        report.run("lost scheduler", lambda: _is_noticed(engine))


def _write_variables(path: Path, variables: dict[str, str]) -> str:
    """Write a file of variables for podman, so that no password stands in a command line."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    return f"--env-file={path}"


def _see_each_other(report: Report, engine: Engine) -> str:
    """Wait for the image's HEALTHCHECK in both containers."""
    seconds = [round(engine.wait_until_healthy(name), 1) for name in (SCHEDULER, WORKER)]
    report.figures["scheduler_seconds"], report.figures["worker_seconds"] = seconds
    return f"the scheduler answers after {seconds[0]} s, the worker is connected {seconds[1]} s later"


def _reduce(report: Report, engine: Engine, scheduler: str, where: str, options: tuple[str, ...]) -> str:
    """Go the way of docs/container.md, from an empty bucket to a reduced detector."""
    repo = "s3://isr/repo"
    for words in (
        ["isr-repo", "create", "--db", where, "--root", repo],
        ["butler", "ingest-raws", repo, "/data/night/raw"],
        ["butler", "define-visits", repo, "HSC"],
        ["butler", "write-curated-calibrations", repo, "HSC"],
        ["isr-repo", "ingest-calibs", repo, "/data/night", "--label", "mine"],
    ):
        engine.run(*words, options=options)
    start = time.monotonic()
    run = ["isr-run", "-b", repo, *INPUTS, "-o", "u/me/visit", "--dask", scheduler]
    engine.run(*run, options=options)
    seconds = round(time.monotonic() - start, 1)
    report.figures["cluster_seconds"] = seconds
    fetch = ["butler", "retrieve-artifacts", repo, "/data/results", "--collections", "u/me/visit"]
    engine.run(*fetch, "-d", "postISRCCD", "--transfer", "copy", options=options)
    log = call([*engine.podman, "logs", WORKER])
    kernels = require_no_compilation(log.stdout + log.stderr)
    return f"raws to S3 and PostgreSQL, isr-run on the worker ({seconds} s, {kernels} kernels loaded), back"


def _is_noticed(engine: Engine) -> str:
    """The worker is not healthy any more."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        said = call([*engine.podman, "exec", WORKER, *engine.health_check()], code=None)
        if said.returncode == 1 and "no connection to the scheduler" in said.stderr:
            return "a worker without its scheduler is not healthy"
        time.sleep(0.5)
    raise CheckError(f"the worker's scheduler is gone; its health check says {said.returncode} {said.stderr}")
