"""Ingest of a folder of calibrations."""

from __future__ import annotations

import hashlib
import pickle
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time
from lsst.daf.butler import CollectionType, Timespan

from isr.calib_index import CalibEntry, write_index
from isr.calibs import BrighterFatterKernel, CalibImage, CalibInfo, Crosstalk, Defects
from isr.errors import CalibMismatchError, CalibMissingError, CameraError, ObjectError
from isr.fits.calib import encode_calib
from pipeline.calibs import ingest_calibs
from pipeline.errors import RepositoryError
from pipeline.execution import calib_cache
from pipeline.execution.calib_cache import CalibCache

HSC = {"instrument": "HSC"}


def image(kind, detector=22, *, value=1.0, **info):
    return CalibImage(CalibInfo(kind, detector=detector, **info), np.full((6, 8), value, np.float32))


def write_folder(root, *calibs, **changes):
    """Write calibrations and their index."""
    root.mkdir(exist_ok=True)
    entries = []
    for number, calib in enumerate(calibs):
        info, data = calib.info, encode_calib(calib)
        path = f"{info.kind}_{number}.fits"
        (root / path).write_bytes(data)
        entry = CalibEntry(
            type=info.kind,
            detector=info.detector,
            path=path,
            physical_filter=info.physical_filter,
            valid_from=info.valid_from,
            valid_until=info.valid_until,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        entries.append(replace(entry, **changes))
    (root / "calibs.csv").write_text(write_index(entries))
    return str(root)


def at(date, **data_id):
    """Return arguments that find a calibration valid at a time, UTC."""
    time = Time(date, scale="utc")
    return {"timespan": Timespan(time, time), "collections": "HSC/calib", **HSC, **data_id}


def find(butler, kind, date, **data_id):
    return butler.find_dataset(kind, **at(date, **data_id))


def test_all_kinds_are_stored_certified_and_read(butler, tmp_path):
    calibs = (
        image("bias", value=3.0, valid_from="2013-01-01", valid_until="2014-01-01"),
        image("dark"),
        image("flat", physical_filter="HSC-R"),
        image("fringe", physical_filter="HSC-Y"),
        Defects(CalibInfo("defects", detector=22), np.array([[1, 2, 3, 4]], np.int32)),
        Crosstalk(CalibInfo("crosstalk", detector=22, detector_name="0_27"), np.zeros((4, 4))),
        BrighterFatterKernel(
            CalibInfo("brighterFatterKernel", detector=22, detector_name="0_27"), np.eye(5), {"0": 2.0}
        ),
        BrighterFatterKernel(CalibInfo("bfKernel"), np.eye(3)),
    )
    report = ingest_calibs(butler, write_folder(tmp_path / "calibs", *calibs), label="DM-1")
    assert dict(report.new) == {calib.info.kind: 1 for calib in calibs}
    assert (report.certified, report.collection, report.chain) == (8, "HSC/calib/DM-1", "HSC/calib")
    assert butler.collections.get_info("HSC/calib").children == ("HSC/calib/DM-1",)
    bias = butler.get(find(butler, "bias", "2013-06-17", detector=22))
    np.testing.assert_array_equal(bias.image, np.full((6, 8), 3.0, np.float32))
    flat = butler.get(find(butler, "flat", "2013-06-17", detector=22, physical_filter="HSC-R"))
    assert flat.info.physical_filter == "HSC-R"
    defects = butler.get(find(butler, "defects", "2013-06-17", detector=22))
    assert defects.boxes.tolist() == [[1, 2, 3, 4]]
    np.testing.assert_array_equal(butler.get(find(butler, "bfKernel", "2013-06-17")), np.eye(3))
    kernel = butler.get(find(butler, "brighterFatterKernel", "2013-06-17", detector=22))
    assert kernel.gains == {"0": 2.0}


def test_validity_is_utc_and_excludes_its_end(butler, tmp_path):
    first = image("bias", valid_from="2013-01-01", valid_until="2013-07-01T12:00:00")
    second = image("bias", value=2.0, valid_from="2013-07-01T12:00:00")
    ingest_calibs(butler, write_folder(tmp_path / "calibs", first, second))
    runs = {
        date: ref.run if (ref := find(butler, "bias", date, detector=22)) else None
        for date in (
            "2012-12-31T23:59:59",
            "2013-01-01",
            "2013-07-01T11:59:59",
            "2013-07-01T12:00:00",
            "2020-01-01",
        )
    }
    assert runs == {
        "2012-12-31T23:59:59": None,
        "2013-01-01": "HSC/calib/ingested/20130101T000000Z",
        "2013-07-01T11:59:59": "HSC/calib/ingested/20130101T000000Z",
        "2013-07-01T12:00:00": "HSC/calib/ingested/20130701T120000Z",
        "2020-01-01": "HSC/calib/ingested/20130701T120000Z",
    }


def test_again_is_a_no_op_and_new_lines_are_added(butler, tmp_path):
    ingest_calibs(butler, write_folder(tmp_path / "calibs", image("bias")))
    ids = {ref.id for ref in butler.query_datasets("bias", "HSC/calib/ingested/*", find_first=False)}
    folder = write_folder(tmp_path / "calibs", image("bias"), image("bias", 23), image("dark"))
    report = ingest_calibs(butler, folder)
    assert (dict(report.new), dict(report.kept)) == ({"bias": 1, "dark": 1}, {"bias": 1})
    assert report.certified == 2
    report = ingest_calibs(butler, folder)
    assert (report.new.total(), report.kept.total(), report.certified) == (0, 3, 0)
    assert ids < {ref.id for ref in butler.query_datasets("bias", "HSC/calib/ingested/*", find_first=False)}


def test_another_content_needs_another_label(butler, tmp_path):
    ingest_calibs(butler, write_folder(tmp_path / "calibs", image("bias")), transfer="copy")
    other = write_folder(tmp_path / "other", image("dark"), image("bias", value=7.0))
    with pytest.raises(RepositoryError, match=r"with another content.*Give another --label"):
        ingest_calibs(butler, other)
    assert find(butler, "dark", "2013-06-17", detector=22) is None  # all or nothing
    report = ingest_calibs(butler, other, label="new")
    assert report.certified == 2
    assert butler.get(find(butler, "bias", "2013-06-17", detector=22)).image[0, 0] == 7.0  # it is the head


def test_another_content_in_the_same_place_is_not_taken_for_what_a_worker_keeps(butler, tmp_path):
    """As when a repository is made anew where another one was."""
    kept = CalibCache(tmp_path / "cache", 1 << 20, 1 << 20)
    found = {}
    for name, value in (("first", 1.0), ("other", 7.0), ("again", 1.0)):
        ingest_calibs(butler, write_folder(tmp_path / name, image("bias", value=value)), transfer="copy")
        ref = find(butler, "bias", "2013-06-17", detector=22)
        calib_cache.install(kept)
        try:
            found[name] = ref.id, str(butler.getURI(ref)), butler.get(ref).image[0, 0]
        finally:
            calib_cache.install(None)
        butler.collections.redefine_chain("HSC/calib", [])
        butler.collections.x_remove("HSC/calib/ingested")
        butler.removeRuns([ref.run])
    assert found["first"][1] == found["other"][1]
    assert [value for _, _, value in found.values()] == [1.0, 7.0, 1.0]
    assert found["first"] == found["again"]


def test_overlapping_validity_is_refused_and_nothing_is_left(butler, tmp_path):
    ingest_calibs(butler, write_folder(tmp_path / "calibs", image("bias", valid_from="2013-01-01")))
    later = write_folder(tmp_path / "later", image("dark"), image("bias", valid_from="2014-01-01"))
    with pytest.raises(RepositoryError, match=r"bias .*validity overlaps.*--label"):
        ingest_calibs(butler, later)
    assert find(butler, "dark", "2015-01-01", detector=22) is None
    assert not list((tmp_path / "repo").rglob("dark*.fits"))


def test_two_of_the_same_begin_are_refused(butler, tmp_path):
    folder = write_folder(tmp_path / "calibs", image("bias"), image("bias", value=2.0))
    with pytest.raises(CalibMismatchError, match="become valid at the same time"):
        ingest_calibs(butler, folder)


def test_one_file_of_all_detectors(butler, tmp_path):
    crosstalk = Crosstalk(CalibInfo("crosstalk"), np.zeros((4, 4)))
    report = ingest_calibs(butler, write_folder(tmp_path / "calibs", crosstalk))
    assert (report.new.total(), report.certified) == (1, 112)
    refs = [find(butler, "crosstalk", "2013-06-17", detector=number) for number in (0, 111)]
    assert refs[0].id != refs[1].id
    assert butler.getURI(refs[0]) == butler.getURI(refs[1])
    assert ingest_calibs(butler, str(tmp_path / "calibs")).certified == 0


def test_a_part_of_what_one_file_serves_was_removed(butler, tmp_path):
    """It is not left out in silence."""
    folder = write_folder(tmp_path / "calibs", Crosstalk(CalibInfo("crosstalk"), np.zeros((4, 4))))
    ingest_calibs(butler, folder)
    butler.pruneDatasets(
        [find(butler, "crosstalk", "2013-06-17", detector=5)], disassociate=True, purge=True, unstore=True
    )
    with pytest.raises(RepositoryError, match="cannot be stored"):
        ingest_calibs(butler, folder)


def test_pickle_of_python_2_becomes_one_of_today(butler, tmp_path):
    folder = tmp_path / "calibs"
    folder.mkdir()
    kernel = np.arange(9.0).reshape(3, 3)
    (folder / "kernel.pkl").write_bytes(pickle.dumps(kernel, protocol=0))
    (folder / "calibs.csv").write_text(write_index([CalibEntry("bfKernel", None, "kernel.pkl")]))
    ingest_calibs(butler, str(folder))
    ref = find(butler, "bfKernel", "2013-06-17")
    np.testing.assert_array_equal(butler.get(ref), kernel)
    assert butler.getURI(ref).getExtension() == ".pickle"
    assert ingest_calibs(butler, str(folder)).kept["bfKernel"] == 1


def test_ecsv_table_becomes_fits(butler, tmp_path):
    folder = tmp_path / "calibs"
    folder.mkdir()
    Table({name: [5] for name in ("x0", "y0", "width", "height")}).write(folder / "d.ecsv")
    (folder / "calibs.csv").write_text(write_index([CalibEntry("defects", 22, "d.ecsv")]))
    ingest_calibs(butler, str(folder))
    ref = find(butler, "defects", "2013-06-17", detector=22)
    assert butler.getURI(ref).read().startswith(b"SIMPLE  =")
    assert butler.get(ref).boxes.tolist() == [[5, 5, 5, 5]]


@pytest.mark.parametrize(
    ("transfer", "is_same_place"), [("direct", True), ("copy", False), ("link", False), ("relsymlink", False)]
)
def test_transfers(butler, tmp_path, transfer, is_same_place):
    folder = write_folder(tmp_path / "calibs", image("bias"))
    ingest_calibs(butler, folder, transfer=transfer)
    uri = butler.getURI(find(butler, "bias", "2013-06-17", detector=22))
    assert (uri.ospath == f"{folder}/bias_0.fits") == is_same_place
    assert (tmp_path / "calibs" / "bias_0.fits").samefile(uri.ospath) == (transfer != "copy")


def test_formatters_are_lssts(butler, tmp_path):
    flat = image("flat", physical_filter="HSC-R")
    defects = Defects(CalibInfo("defects", detector=22), np.array([[1, 2, 3, 4]], np.int32))
    ingest_calibs(butler, write_folder(tmp_path / "calibs", flat, defects))
    with closing(sqlite3.connect(tmp_path / "repo" / "gen3.sqlite3")) as database:
        rows = database.execute("SELECT formatter, storage_class FROM file_datastore_records").fetchall()
    assert set(rows) == {
        ("lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter", "ExposureF"),
        ("lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter", "Defects"),
    }


@pytest.mark.parametrize(
    ("calib", "changes", "error", "message"),
    [
        (image("bias"), {"sha256": "0" * 64}, ObjectError, "the file is damaged or was replaced"),
        (image("bias"), {"detector": 23}, CalibMismatchError, r"of detector 22, calibs\.csv says 23"),
        (image("bias"), {"type": "dark"}, CalibMismatchError, "OBSTYPE says bias"),
        (image("bias"), {"type": "sky"}, CalibMismatchError, "there is no such type; expected one of bias"),
        (image("bias"), {"type": "camera"}, CalibMismatchError, "there is no such type"),
        (image("bias"), {"physical_filter": "HSC-R"}, CalibMismatchError, "does not depend on the filter"),
        (image("flat"), {}, CalibMismatchError, "which filter this flat is of"),
        (
            image("flat", physical_filter="HSC-R"),
            {"physical_filter": "HSC-I"},
            CalibMismatchError,
            r"of filter HSC-R, calibs\.csv says HSC-I",
        ),
        (image("bias", 200), {}, CameraError, "200"),
        (
            BrighterFatterKernel(CalibInfo("bfKernel", detector=22), np.eye(3)),
            {},
            CalibMismatchError,
            "of the whole instrument",
        ),
        (image("bias"), {"path": "nothing.fits"}, ObjectError, "nothing.fits"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(butler, tmp_path, calib, changes, error, message):
    folder = write_folder(tmp_path / "calibs", image("dark"), calib)
    good = (tmp_path / "calibs" / "calibs.csv").read_text().splitlines()[1]
    entry = CalibEntry(
        calib.info.kind, calib.info.detector, f"{calib.info.kind}_1.fits", calib.info.physical_filter
    )
    index = write_index([replace(entry, **changes)])
    (tmp_path / "calibs" / "calibs.csv").write_text(f"{index}{good}\n")
    with pytest.raises(error, match=message):
        ingest_calibs(butler, folder)
    assert find(butler, "dark", "2013-06-17", detector=22) is None


def test_damaged_pixels_are_found(butler, tmp_path):
    folder = write_folder(tmp_path / "calibs", image("bias"), sha256="")
    path = tmp_path / "calibs" / "bias_0.fits"
    content = bytearray(path.read_bytes())
    content[-2880] ^= 1
    path.write_bytes(content)
    (tmp_path / "calibs" / "calibs.csv").write_text(write_index([CalibEntry("bias", 22, "bias_0.fits")]))
    with pytest.raises(Exception, match="DATASUM"):
        ingest_calibs(butler, folder)


@pytest.mark.parametrize("label", ["", "curated", "unbounded/x", "a//b", "/a", "a b", "a/"])
def test_labels(butler, tmp_path, label):
    with pytest.raises(RepositoryError, match="--label"):
        ingest_calibs(butler, str(tmp_path), label=label)


def test_folder_without_index(butler, tmp_path):
    with pytest.raises(CalibMissingError, match=r"calibs\.csv: cannot read the index"):
        ingest_calibs(butler, str(tmp_path))
    (tmp_path / "calibs.csv").write_text(write_index([]))
    with pytest.raises(CalibMissingError, match="lists no calibrations"):
        ingest_calibs(butler, str(tmp_path))


def test_repository_whose_calib_collection_is_no_chain(butler, tmp_path):
    """As in a stack-made repository: the certified collection stands on its own."""
    butler.collections.redefine_chain("HSC/defaults", [])
    butler.collections.x_remove("HSC/calib")
    butler.collections.register("HSC/calib", CollectionType.CALIBRATION)
    report = ingest_calibs(butler, write_folder(tmp_path / "calibs", image("bias")))
    assert (report.chain, report.certified) == ("", 1)


def test_folder_in_an_object_store(butler, s3, s3_bucket, tmp_path):
    for path in Path(write_folder(tmp_path / "calibs", image("bias"))).iterdir():
        s3.client().put_object(
            Bucket=s3_bucket.removeprefix("s3://"), Key=f"c/{path.name}", Body=path.read_bytes()
        )
    report = ingest_calibs(butler, f"{s3_bucket}/c", transfer="direct")
    assert report.certified == 1
    assert butler.get(find(butler, "bias", "2013-06-17", detector=22)).image.shape == (6, 8)
