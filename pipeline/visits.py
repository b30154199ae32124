"""Definition of visits from exposures, as LSST's obs_base defines HSC's."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import lsst.pex.config as pexConfig
from lsst.daf.butler import Butler, DimensionRecord
from lsst.daf.butler.registry import ConflictingDefinitionError

from pipeline.errors import RepositoryError
from pipeline.ingest import require_instrument
from pipeline.instrument import NAME, ONE_TO_ONE
from pipeline.visit_regions import PADDING, visit_regions

__all__ = ["DefineVisitsConfig", "VisitCounts", "define_visits"]

log = logging.getLogger(__name__)

BY_COUNTER = 2
VISIT_SYSTEMS = {ONE_TO_ONE: "one-to-one", BY_COUNTER: "by-seq-start-end"}
GROUPINGS = {
    "one-to-one": (ONE_TO_ONE,),
    "one-to-one-and-by-counter": (ONE_TO_ONE, BY_COUNTER),
}


class _NoChoices(pexConfig.Config):
    """An algorithm without settings."""


class _RegionsConfig(pexConfig.Config):
    padding = pexConfig.Field[int](
        "Pixels by which detectors are enlarged on each side.", dtype=int, default=PADDING
    )


class DefineVisitsConfig(pexConfig.Config):
    """Configuration with fields of LSST's ``DefineVisitsTask``, as far as they concern HSC."""

    groupExposures = pexConfig.ConfigChoiceField(
        "How exposures make visits; both ways give each exposure of HSC a visit of its own.",
        typemap=dict.fromkeys(GROUPINGS, _NoChoices),
        default="one-to-one-and-by-counter",
    )
    computeVisitRegions = pexConfig.ConfigChoiceField(
        "How regions are computed.", typemap={"single-raw-wcs": _RegionsConfig}, default="single-raw-wcs"
    )
    ignoreNonScienceExposures = pexConfig.Field[bool](
        "Leave out exposures that are not of the sky; else they are an error.", dtype=bool, default=True
    )


@dataclass(slots=True)
class VisitCounts:
    """How many visits were new, changed, or there already; and exposures that are not of the sky."""

    new: int = 0
    updated: int = 0
    unchanged: int = 0
    not_on_sky: int = 0


def define_visits(
    butler: Butler,
    config: DefineVisitsConfig | None = None,
    *,
    where: str = "",
    update_records: bool = False,
    incremental: bool = False,
) -> VisitCounts:
    """Define a visit for each on-sky exposure of HSC.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable butler.
    config : `DefineVisitsConfig`, optional
        Grouping, padding of regions.
    where : `str`, optional
        Query expression that selects exposures.
    update_records : `bool`, optional
        Replace visits and regions that differ.
    incremental : `bool`, optional
        Replace visits that differ; regions only if the visit's changed.

    Returns
    -------
    counts : `VisitCounts`
        What was done.

    Raises
    ------
    RepositoryError
        If HSC is not registered, the expression is wrong, or a visit is there that
        differs.
    """
    config = config or DefineVisitsConfig()
    require_instrument(butler)
    systems = GROUPINGS[config.groupExposures.name]
    counts = VisitCounts()
    exposures = _on_sky(_exposures(butler, where), config, counts)
    for number in systems if exposures else ():
        record = {"instrument": NAME, "id": number, "name": VISIT_SYSTEMS[number]}
        butler.registry.syncDimensionData("visit_system", record)
    padding = config.computeVisitRegions["single-raw-wcs"].padding
    for exposure in exposures:
        try:
            with butler.registry.transaction():
                _define_visit(butler, exposure, systems, padding, update_records, incremental, counts)
        except ConflictingDefinitionError as error:
            raise RepositoryError(
                f"Visit {exposure.id} is in the repository with another definition "
                f"({' '.join(str(error).split())}). If the exposure record was corrected, give "
                "--update-records to replace it."
            ) from error
    return counts


def _exposures(butler: Butler, where: str) -> list[DimensionRecord]:
    try:
        return butler.query_dimension_records(
            "exposure", where=where, instrument=NAME, order_by="exposure.id", limit=None, explain=False
        )
    except Exception as error:  # the query system has many kinds
        if not where:
            raise
        raise RepositoryError(
            f'--where {where!r}: {" ".join(str(error).split())} Write it as in "exposure = 903334".'
        ) from error


def _on_sky(
    exposures: Iterable[DimensionRecord], config: DefineVisitsConfig, counts: VisitCounts
) -> list[DimensionRecord]:
    found = []
    for exposure in exposures:
        pointing = (exposure.tracking_ra, exposure.tracking_dec, exposure.sky_angle)
        if None not in pointing and exposure.can_see_sky is not False:
            found.append(exposure)
        elif config.ignoreNonScienceExposures:
            counts.not_on_sky += 1
        else:
            raise RepositoryError(
                f"Exposure {exposure.id} ({exposure.observation_type}) is not of the sky; leave it out with "
                "--where, or set ignoreNonScienceExposures=True."
            )
    return found


def _define_visit(
    butler: Butler,
    exposure: DimensionRecord,
    systems: Iterable[int],
    padding: int,
    update_records: bool,
    incremental: bool,
    counts: VisitCounts,
) -> None:
    if exposure.seq_start != exposure.seq_end:
        raise RepositoryError(
            f"Exposure {exposure.id} belongs to a sequence ({exposure.seq_start} to {exposure.seq_end}); "
            "visits of several exposures, which HSC does not take, cannot be defined."
        )
    registry, universe = butler.registry, butler.dimensions
    region, detectors = visit_regions(
        exposure.tracking_ra, exposure.tracking_dec, exposure.sky_angle, padding
    )
    of_visit = {"instrument": NAME, "visit": exposure.id}
    change = registry.syncDimensionData(
        "visit", _visit_record(exposure, region, butler), update=update_records or incremental
    )
    regions = [
        universe["visit_detector_region"].RecordClass(**of_visit, detector=number, region=detector)
        for number, detector in detectors.items()
    ]
    if change is True:
        registry.insertDimensionData("visit_definition", {**of_visit, "exposure": exposure.id})
        members = [{**of_visit, "visit_system": system} for system in systems]
        registry.insertDimensionData("visit_system_membership", *members)
        registry.insertDimensionData("visit_detector_region", *regions)
        counts.new += 1
    elif update_records or (change and "region" in change):
        registry.insertDimensionData("visit_detector_region", *regions, replace=True)
        counts.updated += 1
    elif change:
        counts.updated += 1
    else:
        counts.unchanged += 1
    log.debug("Visit %d: %s", exposure.id, change)


def _visit_record(exposure: DimensionRecord, region: object, butler: Butler) -> DimensionRecord:
    same = (
        "instrument",
        "id",
        "physical_filter",
        "day_obs",
        "seq_num",
        "exposure_time",
        "target_name",
        "observation_reason",
        "science_program",
        "azimuth",
        "zenith_angle",
        "timespan",
    )
    values = {name: getattr(exposure, name) for name in same}
    return butler.dimensions["visit"].RecordClass(**values, name=exposure.obs_id, region=region)
