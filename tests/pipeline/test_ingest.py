"""Ingest of raws: records as obs_base makes them, the same ids, one bad file does not stop the others."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits
from lsst.daf.butler import Butler, CollectionType

from isr.errors import FitsFileError, HeaderError, ObjectError
from pipeline.errors import RepositoryError
from pipeline.ingest import RawIngestConfig, ingest_raws
from pipeline.raw_records import exposure_record, observation_info
from tests.pipeline.raws import raw_header, write_raw

RUN = "HSC/raw/all"


def config(**values):
    settings = RawIngestConfig()
    settings.update(**{"transfer": "direct"} | values)
    return settings


def raws_in(butler, run=RUN):
    return {ref.dataId["detector"]: ref for ref in butler.query_datasets("raw", run, explain=False)}


def test_exposure_record(butler, tmp_path):
    write_raw(tmp_path / "raw")
    report = ingest_raws(butler, [str(tmp_path / "raw")], config())
    assert (len(report.ingested), report.skipped, report.exposures, report.failures) == (1, 0, 1, [])
    (exposure,) = butler.query_dimension_records("exposure", instrument="HSC")
    found = exposure.toDict()
    timespan = found.pop("timespan")
    assert [t.tai.isot[:23] for t in (timespan.begin, timespan.end)] == [
        "2013-06-17T13:29:11.039",
        "2013-06-17T13:29:43.495",
    ]
    expected = {
        "tracking_ra": 320.749925,
        "tracking_dec": 0.50001944,
        "sky_angle": 270.0,
        "azimuth": 156.69347053,
        "zenith_angle": 20.89418049,
        "exposure_time": 30.0,
        "dark_time": 30.0,
    }
    for name, value in expected.items():
        assert found.pop(name) == pytest.approx(value, rel=1e-7), name
    assert found == {
        "instrument": "HSC",
        "id": 903334,
        "obs_id": "HSCA90333400",
        "physical_filter": "HSC-R",
        "group": "903334",
        "day_obs": 20130617,
        "observation_type": "science",
        "observation_reason": "science",
        "seq_num": 903334,
        "seq_start": 903334,
        "seq_end": 903334,
        "target_name": "STRIPE82L",
        "science_program": "o13015",
        "has_simulated": True,
        "can_see_sky": True,
    }
    (group,) = butler.query_dimension_records("group", instrument="HSC")
    assert group.name == "903334"
    (day,) = butler.query_dimension_records("day_obs", instrument="HSC")
    assert (day.id, day.timespan.begin.tai.isot[:23]) == (20130617, "2013-06-17T00:00:00.000")


def test_ids_are_the_same_everywhere(butler, tmp_path):
    """Derived from run and data id, as in a stack: these values may never change."""
    for number in (22, 100):
        write_raw(tmp_path / "raw", number=number)
    ingest_raws(butler, [str(tmp_path / "raw")], config())
    ids = {detector: str(ref.id) for detector, ref in raws_in(butler).items()}
    assert ids == {
        22: "b7ed320f-47ec-5a26-baef-39e2a5fc0dc2",
        100: "31c4bbe4-65ec-5dd1-80d8-30416d3247a9",
    }


def test_again_is_a_no_op_and_new_detectors_are_added(butler, tmp_path):
    folder = tmp_path / "raw"
    write_raw(folder, number=22)
    ingest_raws(butler, [str(folder)], config())
    write_raw(folder, number=23)
    report = ingest_raws(butler, [str(folder)], config())
    assert ([ref.dataId["detector"] for ref in report.ingested], report.skipped) == ([23], 1)
    report = ingest_raws(butler, [str(folder)], config(), processes=3)
    assert (report.ingested, report.skipped, report.failures) == ([], 2, [])
    assert set(raws_in(butler)) == {22, 23}


def test_existing_raws_can_be_an_error(butler, tmp_path):
    path = write_raw(tmp_path)
    ingest_raws(butler, [str(path)], config())
    report = ingest_raws(butler, [str(path)], config(), skip_existing=False)
    assert len(report.failures) == 1
    assert "raws of detectors 22 are in HSC/raw/all already" in report.failures[0][1]


def test_bad_files_do_not_stop_the_others(butler, tmp_path):
    folder = tmp_path / "raw"
    write_raw(folder, number=22)
    write_raw(folder, visit=903336, number=17)
    (folder / "empty.fits").touch()
    write_raw(folder, name="other_filter.fits", number=24, FILTER01="HSC-Q")
    write_raw(folder, name="no_type.fits", number=25, DATA_TYP=None)
    write_raw(folder, name="megacam.fits", number=26, EXP_ID="MEGA", FRAMEID="MEGA", INSTRUME="MegaPrime")
    write_raw(folder, name="detector.fits", number=27, DET_ID=112)
    shutil.copy(write_raw(folder, number=28), folder / "twin.fits")
    missing = folder / "missing.fits"
    report = ingest_raws(butler, [str(folder), str(missing)], config())
    reasons = {name.rpartition("/")[2]: reason for name, reason in report.failures}
    assert set(raws_in(butler)) == {17, 22, 28}
    assert (len(report.ingested), report.exposures) == (3, 2)
    assert set(reasons) == {
        *("empty.fits", "other_filter.fits", "no_type.fits", "megacam.fits", "detector.fits", "twin.fits"),
        "missing.fits",
    }
    assert "is empty" in reasons["empty.fits"]
    assert "FILTER01 = 'HSC-Q', expected one of unknown, empty, HSC-G" in reasons["other_filter.fits"]
    assert "cannot be translated: no 'DATA-TYP'" in reasons["no_type.fits"]
    assert "is not a raw frame of HSC: INSTRUME is 'MegaPrime'" in reasons["megacam.fits"]
    assert "DET-ID = 112, expected 0 to 111" in reasons["detector.fits"]
    assert "is the same exposure 903334 and detector 28 as" in reasons["twin.fits"]
    assert "no such file" in reasons["missing.fits"]


def test_fail_fast_stops_at_a_bad_file(butler, tmp_path):
    write_raw(tmp_path / "raw")
    (tmp_path / "raw" / "a.fits").touch()
    with pytest.raises(FitsFileError, match="is empty"):
        ingest_raws(butler, [str(tmp_path / "raw")], config(failFast=True))
    assert not raws_in(butler)


def test_header_that_differs_needs_update_records(butler, tmp_path):
    ingest_raws(butler, [str(write_raw(tmp_path, number=22))], config())
    corrected = write_raw(tmp_path, number=23, OBJECT="M31")
    report = ingest_raws(butler, [str(corrected)], config())
    assert not report.ingested
    ((name, reason),) = report.failures
    assert name == corrected.as_uri()
    assert "exposure 903334 is in the repository with another record" in reason
    assert "STRIPE82L" in reason
    assert "--update-records" in reason
    with pytest.raises(RepositoryError, match="--update-records"):
        ingest_raws(butler, [str(corrected)], config(failFast=True))
    report = ingest_raws(butler, [str(corrected)], config(), update_records=True)
    assert (len(report.ingested), report.failures) == (1, [])
    (exposure,) = butler.query_dimension_records("exposure", instrument="HSC")
    assert exposure.target_name == "M31"


def test_failure_within_an_exposure_leaves_nothing_of_it(butler, tmp_path, monkeypatch):
    write_raw(tmp_path / "raw", number=22)
    write_raw(tmp_path / "raw", visit=903336, number=17)
    ingest = type(butler).ingest

    def full(self, *datasets, **options):
        ingest(self, *datasets, **options)
        if datasets[0].refs[0].dataId["exposure"] == 903334:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(butler), "ingest", full)
    report = ingest_raws(butler, [str(tmp_path / "raw")], config(transfer="copy"))
    ((name, reason),) = report.failures
    assert name.endswith("HSCA90333427.fits")
    assert "No space left on device" in reason
    assert set(raws_in(butler)) == {17}
    assert [e.id for e in butler.query_dimension_records("exposure", instrument="HSC")] == [903336]
    assert len(list((tmp_path / "repo").rglob("raw_HSC*.fits"))) == 1


@pytest.mark.parametrize("kind", ["gz", "fz"])
def test_compressed_files(butler, tmp_path, kind):
    path = tmp_path / f"HSCA90333427.fits.{kind}"
    if kind == "gz":
        path.write_bytes(gzip.compress(write_raw(tmp_path / "plain").read_bytes(), 1))
    else:
        hdu = fits.CompImageHDU(np.zeros((4241, 2144), np.uint16), raw_header(), compression_type="RICE_1")
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    report = ingest_raws(butler, [str(tmp_path)], config(transfer="copy"), regex=rf"\.{kind}$")
    assert report.failures == []
    raw = butler.get(report.ingested[0])
    assert (raw.visit_info.visit, raw.detector.id, raw.pixels.shape) == (903334, 22, (4241, 2144))


@pytest.mark.parametrize("number", [22, 100])
def test_raws_are_read_back_with_their_formatter(butler, tmp_path, number):
    ingest_raws(butler, [str(write_raw(tmp_path, number=number))], config(transfer="link"))
    raw = butler.get("raw", instrument="HSC", exposure=903334, detector=number, collections=RUN)
    assert (raw.detector.id, raw.visit_info.visit) == (number, 903334)
    assert (raw.pixels == 32768).all()  # what empty pixels mean with BZERO


def test_names_decide_within_directories(butler, tmp_path):
    write_raw(tmp_path / "a" / "b", number=22)
    write_raw(tmp_path / "a", number=23, name="notes.txt")
    assert len(ingest_raws(butler, [str(tmp_path / "a")], config()).ingested) == 1
    with pytest.raises(ObjectError, match=r"found no file whose name matches 'fits\.xz'.*--regex"):
        ingest_raws(butler, [str(tmp_path / "a")], config(), regex="fits.xz")
    report = ingest_raws(butler, [str(tmp_path / "a" / "notes.txt")], config())
    assert [ref.dataId["detector"] for ref in report.ingested] == [23]


def test_run(butler, tmp_path):
    path = str(write_raw(tmp_path))
    ingest_raws(butler, [path], config(), run="u/me/raw")
    assert set(raws_in(butler, "u/me/raw")) == {22}
    butler.collections.register("u/me/chain", CollectionType.CHAINED)
    with pytest.raises(RepositoryError, match="CHAINED collection; raws need a RUN"):
        ingest_raws(butler, [path], config(), run="u/me/chain")


def test_repository_without_the_instrument(tmp_path):
    path = str(write_raw(tmp_path))
    Butler.makeRepo(str(tmp_path / "bare"))
    with (
        Butler.from_config(str(tmp_path / "bare"), writeable=True) as butler,
        pytest.raises(RepositoryError, match=r"register-instrument REPO lsst\.obs\.subaru\.HyperSuprimeCam"),
    ):
        ingest_raws(butler, [path], config())


def test_record_of_a_bias_has_no_place_on_the_sky(butler):
    header = raw_header(DATA_TYP="BIAS", EXPTIME=0.0, RA2000=None)
    info = observation_info(header, "bias.fits")
    record = exposure_record(info, butler.dimensions)
    assert (record.observation_type, record.exposure_time, record.tracking_ra) == ("bias", 0.0, None)
    assert record.can_see_sky is False
    assert not record.has_simulated


def test_end_before_begin_makes_no_empty_timespan(butler):
    info = observation_info(raw_header(), "raw.fits")
    broken = info.model_copy(update={"datetime_end": info.datetime_begin - 10 * (info.exposure_time)})
    timespan = exposure_record(broken, butler.dimensions).timespan
    assert timespan.begin == info.datetime_begin.tai
    assert not timespan.isEmpty()


def test_header_without_exposure_id():
    with pytest.raises(HeaderError, match=r"x\.fits: the header cannot be translated.*EXP-ID"):
        observation_info(raw_header(EXP_ID="HSC123"), "x.fits")


def test_files_in_an_object_store(butler, s3, s3_bucket, tmp_path):
    bucket = s3_bucket.removeprefix("s3://")
    content = write_raw(tmp_path).read_bytes()
    s3.client().put_object(Bucket=bucket, Key="night/HSCA90333427.fits", Body=content)
    report = ingest_raws(butler, [f"{s3_bucket}/night"], config())  # no final slash
    assert report.failures == []
    assert butler.getURI(report.ingested[0]).geturl() == f"{s3_bucket}/night/HSCA90333427.fits"
    assert butler.get(report.ingested[0]).detector.id == 22
