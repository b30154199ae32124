"""Visits and their regions on the sky."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from lsst.sphgeom import LonLat, UnitVector3d

from isr.exposure import VisitInfo
from isr.hsc import camera
from isr.hsc.wcs import PIXEL_SCALE, tan_wcs
from pipeline.errors import RepositoryError
from pipeline.ingest import RawIngestConfig, ingest_raws
from pipeline.visit_regions import detector_corners, visit_regions
from pipeline.visits import DefineVisitsConfig, VisitCounts, define_visits
from tests.pipeline.raws import write_raw

POINTING = {"boresight_ra": 320.75, "boresight_dec": -37.5, "rotation_angle": 33.0}


def ingest(butler, *paths, **options):
    config = RawIngestConfig()
    config.transfer, config.failFast = "direct", True
    ingest_raws(butler, [str(path) for path in paths], config, **options)


def to_vector(sky):
    return np.array(UnitVector3d(LonLat.fromDegrees(*(float(x) for x in sky))))


@pytest.mark.parametrize("number", [0, 22, 49, 100, 111])
@pytest.mark.parametrize("padding", [0, 250])
def test_corners_are_those_of_the_wcs(number, padding):
    """Compared with astropy's (wcslib's) projection of the same WCS."""
    detector, visit_info = camera()[number], VisitInfo(**POINTING)
    pad = padding + 0.5
    corners = [(-pad, -pad), (2047 + pad, -pad), (2047 + pad, 4175 + pad), (-pad, 4175 + pad)]
    sky = WCS(tan_wcs(detector, visit_info)).pixel_to_world_values(*np.transpose(corners))
    expected = [to_vector(position) for position in np.transpose(sky)]
    np.testing.assert_allclose(detector_corners(detector, visit_info, padding), expected, rtol=0, atol=1e-12)


def test_regions():
    visit, detectors = visit_regions(320.75, -37.5, 33.0)
    assert set(detectors) == set(range(112))
    boresight = UnitVector3d(LonLat.fromDegrees(320.75, -37.5))
    assert visit.contains(boresight)
    assert [number for number, region in detectors.items() if region.contains(boresight)] != []
    assert all(visit.contains(vertex) for region in detectors.values() for vertex in region.getVertices())
    # Corners of the outermost detectors are a little less than a degree away, padding included.
    distances = [np.arccos(np.dot(np.array(v), np.array(boresight))) for v in visit.getVertices()]
    assert 0.95 < np.degrees(max(distances)) < 1.0


def test_padding_is_that_many_pixels():
    area = visit_regions(10.0, 0.0, 0.0, 0)[1][49].getBoundingBox().getHeight().asDegrees()
    padded = visit_regions(10.0, 0.0, 0.0, 100)[1][49].getBoundingBox().getHeight().asDegrees()
    assert padded - area == pytest.approx(200 * PIXEL_SCALE, rel=1e-3)


@pytest.fixture
def two_exposures(butler, tmp_path):
    write_raw(tmp_path / "raw", number=22)
    write_raw(tmp_path / "raw", number=23)
    write_raw(tmp_path / "raw", visit=903336, number=17)
    write_raw(tmp_path / "raw", visit=903338, number=18, DATA_TYP="BIAS")
    ingest(butler, tmp_path / "raw")
    return butler


def test_one_visit_for_each_exposure(two_exposures):
    butler = two_exposures
    assert define_visits(butler) == VisitCounts(new=2, not_on_sky=1)
    visits = butler.query_dimension_records("visit", instrument="HSC", order_by="visit.id")
    assert [visit.id for visit in visits] == [903334, 903336]
    (exposure,) = butler.query_dimension_records("exposure", instrument="HSC", exposure=903334)
    same = (
        *("physical_filter", "day_obs", "seq_num", "exposure_time", "target_name", "observation_reason"),
        *("science_program", "azimuth", "zenith_angle", "timespan"),
    )
    for name in same:
        assert getattr(visits[0], name) == getattr(exposure, name), name
    assert visits[0].name == exposure.obs_id == "HSCA90333400"
    hull, regions = visit_regions(exposure.tracking_ra, exposure.tracking_dec, exposure.sky_angle)
    assert visits[0].region == hull
    records = butler.query_dimension_records("visit_detector_region", instrument="HSC", visit=903334)
    assert {record.detector: record.region for record in records} == regions


def test_visit_systems(two_exposures):
    butler = two_exposures
    define_visits(butler)
    systems = butler.query_dimension_records("visit_system", instrument="HSC")
    assert {record.id: record.name for record in systems} == {0: "one-to-one", 2: "by-seq-start-end"}
    members = butler.query_dimension_records("visit_system_membership", instrument="HSC")
    assert {(record.visit, record.visit_system) for record in members} == {
        (visit, system) for visit in (903334, 903336) for system in (0, 2)
    }


def test_queries_by_visit_find_raws(two_exposures):
    butler = two_exposures
    define_visits(butler)
    refs = butler.query_datasets("raw", "HSC/raw/all", where="instrument = 'HSC' AND visit = 903334")
    assert {ref.dataId["detector"] for ref in refs} == {22, 23}
    ids = butler.query_data_ids(["visit", "detector"], instrument="HSC", visit=903334)
    assert len(ids) == 112


def test_again_changes_nothing(two_exposures):
    define_visits(two_exposures)
    assert define_visits(two_exposures) == VisitCounts(unchanged=2, not_on_sky=1)


def test_where_selects_exposures(two_exposures):
    assert define_visits(two_exposures, where="exposure = 903336") == VisitCounts(new=1)
    assert define_visits(two_exposures, where="exposure > 903334") == VisitCounts(unchanged=1, not_on_sky=1)
    with pytest.raises(RepositoryError, match="--where 'exposure = '"):
        define_visits(two_exposures, where="exposure = ")


def test_corrected_exposure_needs_update_records(two_exposures, tmp_path):
    butler = two_exposures
    define_visits(butler)
    corrected = write_raw(tmp_path / "corrected", number=24, RA2000="21:24:00.000")
    ingest(butler, corrected, update_records=True)
    with pytest.raises(
        RepositoryError, match=r"Visit 903334 is in the repository with another.*--update-rec"
    ):
        define_visits(butler)
    assert define_visits(butler, update_records=True) == VisitCounts(updated=2, not_on_sky=1)
    (record,) = butler.query_dimension_records(
        "visit_detector_region", instrument="HSC", visit=903334, detector=22
    )
    assert record.region == visit_regions(*pointing_of(butler))[1][22]
    assert pointing_of(butler)[0] == pytest.approx(321.0)
    assert define_visits(butler) == VisitCounts(unchanged=2, not_on_sky=1)


def test_incremental_replaces_regions_only_where_the_visit_moved(two_exposures, tmp_path):
    butler = two_exposures
    define_visits(butler)
    ingest(butler, write_raw(tmp_path / "c", number=24, OBJECT="M31"), update_records=True)
    assert define_visits(butler, incremental=True) == VisitCounts(updated=1, unchanged=1, not_on_sky=1)
    (visit,) = butler.query_dimension_records("visit", instrument="HSC", visit=903334)
    assert visit.target_name == "M31"


def test_configuration(two_exposures, tmp_path):
    config = DefineVisitsConfig()
    overrides = tmp_path / "defineVisits.py"
    overrides.write_text(  # as in obs_subaru
        'config.computeVisitRegions["single-raw-wcs"].padding = 4000\n'
        'config.groupExposures.name = "one-to-one"\nconfig.ignoreNonScienceExposures = False\n'
    )
    config.load(str(overrides))
    with pytest.raises(RepositoryError, match=r"Exposure 903338 \(bias\) is not of the sky"):
        define_visits(two_exposures, config)
    define_visits(two_exposures, config, where="exposure < 903338")
    members = two_exposures.query_dimension_records("visit_system_membership", instrument="HSC")
    assert {record.visit_system for record in members} == {0}
    (visit,) = two_exposures.query_dimension_records("visit", instrument="HSC", visit=903334)
    assert visit.region == visit_regions(*pointing_of(two_exposures), 4000)[0]


def pointing_of(butler):
    (record,) = butler.query_dimension_records("exposure", instrument="HSC", exposure=903334)
    return record.tracking_ra, record.tracking_dec, record.sky_angle


def test_no_exposures(butler):
    assert define_visits(butler) == VisitCounts()
    assert butler.query_dimension_records("visit_system", instrument="HSC", explain=False) == []


def test_sequences_are_refused(butler, tmp_path, monkeypatch):
    ingest(butler, write_raw(tmp_path))
    (record,) = butler.query_dimension_records("exposure", instrument="HSC")
    changed = type(record)(**{**record.toDict(), "seq_end": record.seq_end + 1})
    butler.registry.syncDimensionData("exposure", changed, update=True)
    with pytest.raises(RepositoryError, match=r"belongs to a sequence \(903334 to 903335\)"):
        define_visits(butler)
