"""Curated calibrations in repositories."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.time import Time
from lsst.daf.butler import Butler, CollectionType, Timespan

from isr import hsc
from isr.hsc.tables import read_table
from pipeline.curated import write_curated_calibrations
from pipeline.errors import RepositoryError
from pipeline.instrument import HyperSuprimeCam
from pipeline.repository import open_repository


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A repository with curated calibrations, and the report; do not change it."""
    from pipeline.repository import create_repository

    root = str(tmp_path_factory.mktemp("curated") / "repo")
    create_repository(root)
    with open_repository(root) as butler:
        report = write_curated_calibrations(butler)
        yield butler, report


def find(butler, kind, date, collections="HSC/calib", **data_id):
    time = Time(date, scale="utc")
    return butler.find_dataset(
        kind, instrument="HSC", collections=collections, timespan=Timespan(time, time), **data_id
    )


def test_all_tables_of_all_detectors(written):
    _, report = written
    table = read_table("defects")
    n_tables = len(set(zip(table["detector"], table["valid_from"], strict=True)))
    without = 112 - len(set(table["detector"]))
    assert report.total == n_tables + without + 1  # and the kernel
    assert (report.stored, report.certified) == (report.total, report.total)
    assert (report.collection, report.chain) == ("HSC/calib/curated", "HSC/calib")


@pytest.mark.parametrize(
    ("detector", "date"),
    [
        (33, "2013-01-30T23:59:59"),
        (33, "2013-01-31"),
        (33, "2016-12-22"),
        (33, "2016-12-23"),
        (111, "2013-06-17"),
        (9, "2022-01-01"),
    ],
)
def test_defects_of_a_date(written, detector, date):
    butler, _ = written
    table = hsc.defects(detector, date)
    ref = find(butler, "defects", date, detector=detector)
    assert ref.run == f"HSC/calib/curated/{table.valid_from.replace('-', '')}T000000Z"
    defects = butler.get(ref)
    np.testing.assert_array_equal(defects.boxes, table.boxes)
    assert (defects.info.detector, defects.info.valid_from) == (detector, table.valid_from)


def test_kernel_is_valid_for_ever(written):
    butler, _ = written
    for date in ("1999-01-01", "2013-06-17"):
        ref = find(butler, "bfKernel", date)
        assert ref.run == "HSC/calib/unbounded"
        np.testing.assert_array_equal(butler.get(ref), hsc.brighter_fatter_kernel())


def test_again_is_a_no_op(written):
    butler, first = written
    again = write_curated_calibrations(butler)
    assert (again.stored, again.certified, again.total) == (0, 0, first.total)


def one_detector(monkeypatch):
    """Leave one detector, for speed."""
    monkeypatch.setattr("pipeline.curated.camera", lambda: [hsc.detector(9)])


def test_labels_and_prefix(butler, monkeypatch):
    one_detector(monkeypatch)
    report = write_curated_calibrations(butler, labels=("DM-1", "x"), prefix="u/me/HSC")
    assert (report.collection, report.chain) == ("u/me/HSC/calib/DM-1/x", "")
    ref = find(butler, "defects", "2013-06-17", report.collection, detector=9)
    assert ref.run.startswith("u/me/HSC/calib/DM-1/x/curated/")


def test_label_without_prefix_is_put_into_the_chain(butler, monkeypatch):
    one_detector(monkeypatch)
    report = write_curated_calibrations(butler, labels=("DM-1",))
    assert (report.collection, report.chain) == ("HSC/calib/DM-1", "HSC/calib")


def test_named_collection(butler, monkeypatch):
    one_detector(monkeypatch)
    report = write_curated_calibrations(butler, collection="my/calibs")
    assert (report.collection, report.chain) == ("my/calibs", "")
    butler.collections.register("my/run")
    with pytest.raises(RepositoryError, match="my/run is a RUN collection, but a CALIBRATION one is needed"):
        write_curated_calibrations(butler, collection="my/run")


def test_repository_without_chain(tmp_path, monkeypatch):
    """In a repository of LSST's kind HSC/calib is the CALIBRATION collection itself."""
    one_detector(monkeypatch)
    Butler.makeRepo(str(tmp_path))
    with Butler.from_config(str(tmp_path), writeable=True) as butler:
        HyperSuprimeCam().register(butler.registry)
        report = write_curated_calibrations(butler)
        assert (report.collection, report.chain) == ("HSC/calib", "")
        assert butler.collections.get_info("HSC/calib").type is CollectionType.CALIBRATION
        assert write_curated_calibrations(butler).certified == 0


def test_interrupted_attempt_leaves_nothing(butler, monkeypatch):
    one_detector(monkeypatch)

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.curated.certify", fail)
        with pytest.raises(KeyboardInterrupt):
            write_curated_calibrations(butler)
    assert butler.query_datasets("bfKernel", "HSC/calib/*", find_first=False, explain=False) == []
    assert write_curated_calibrations(butler).stored > 1
