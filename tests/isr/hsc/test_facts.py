"""The fact tables: complete, readable by others, and equal to the facts they were made from."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from isr import hsc
from isr.camera import Box
from isr.errors import CameraError
from isr.hsc.tables import DATA, read_table

TABLES = sorted(path.stem for path in DATA.glob("*.ecsv") if not path.stem.startswith("raw_header"))


def facts(shared, name):
    """Rows of a table in shared/hsc_facts, as dictionaries of strings."""
    with (shared / "hsc_facts" / f"{name}.ecsv").open(encoding="utf-8") as stream:
        return list(csv.DictReader((line for line in stream if not line.startswith("#")), delimiter=" "))


@pytest.mark.parametrize("name", TABLES)
def test_astropy_reads_the_same(name):
    from astropy.table import Table

    ours = read_table(name)
    theirs = Table.read(DATA / f"{name}.ecsv", format="ascii.ecsv", fill_values=[])
    assert list(ours) == theirs.colnames
    for column, values in ours.items():
        np.testing.assert_array_equal(np.array(values), np.array(theirs[column]), strict=False)
    assert len(theirs.meta["description"]) > 20
    assert len(theirs.meta["source"]) > 10


def test_all_tables_are_there_and_small():
    assert {
        "amplifiers",
        "ci_hsc_raws",
        "crosstalk",
        "dead_amplifiers",
        "defects",
        "detectors",
        "filters",
    } <= set(TABLES)
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 400_000


def test_camera_needs_no_slow_imports():
    program = (
        "import sys; from isr import hsc; hsc.camera(); hsc.defects(22, '2013-06-17');"
        "print([m for m in ('astropy', 'numba', 'lsst', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_detectors_by_id_name_and_serial():
    detector = hsc.detector(22)
    assert (detector.id, detector.name, detector.serial, detector.type) == (22, "0_27", "22", "SCIENCE")
    assert hsc.detector("0_27") is hsc.detector("22") is detector
    assert hsc.camera() is hsc.camera()
    assert [d.id for d in hsc.camera()] == list(range(112))
    assert {d.id for d in hsc.camera() if d.raw_flip == "TB"} == {100, 101, 102, 103}
    assert {d.id for d in hsc.camera() if d.type == "FOCUS"} == set(range(104, 112))
    for key in (112, "0_99", "112"):
        with pytest.raises(CameraError, match="no detector"):
            hsc.detector(key)


def test_quarter_turns():
    """Spec section 2: 54 CCDs upright (27 by a tiny negative yaw), 54 upside down, 4 on their side."""
    turns = [d.n_quarter for d in hsc.camera()]
    assert (turns.count(0) + turns.count(4), turns.count(2)) == (54, 54)
    assert [turns[i] for i in (100, 101, 102, 103)] == [3, 3, 1, 1]
    assert turns.count(4) == 27


def test_geometry_of_amplifiers():
    """The table of spec section 1.3."""
    assert hsc.detector(50).raw_shape == (4241, 2144)
    assert hsc.detector(50).bbox == Box(0, 0, 2048, 4176)
    amplifiers = hsc.detector(50).amplifiers
    assert [a.name for a in amplifiers] == ["0", "1", "2", "3"]
    assert [a.raw_bbox.x0 for a in amplifiers] == [0, 536, 1072, 1608]
    assert [a.raw_data_bbox.x0 for a in amplifiers] == [8, 552, 1080, 1624]
    assert [a.raw_serial_overscan_bbox.x0 for a in amplifiers] == [520, 536, 1592, 1608]
    assert [a.bbox.x0 for a in amplifiers] == [0, 512, 1024, 1536]
    assert [a.readout_corner for a in amplifiers] == ["LL", "LR", "LL", "LR"]
    for amplifier in amplifiers:
        assert amplifier.raw_data_bbox[1:] == (49, 512, 4176)
        assert amplifier.raw_serial_overscan_bbox[1:] == (49, 16, 4176)
        assert amplifier.raw_parallel_overscan_bbox[1:] == (4225, 512, 16)
        assert amplifier.raw_prescan_bbox[1:] == (0, 512, 49)


def test_ranges_of_amplifier_values():
    """Spec section 2."""
    science = [a for d in hsc.camera() if d.id < 104 for a in d.amplifiers]
    gains = [a.gain for a in science]
    assert 2.46 < min(gains) < max(gains) < 4.82
    assert {a.suspect_level for a in science} == {50000.0}
    assert {a.linearity_type for a in science} == {"Squared"}
    assert sum(a.linearity_coeffs[0] < 0 for a in science) == 44
    assert sum(a.saturation > 50000 for a in science) == 159
    assert sum(a.saturation < 50000 for a in science) == 209
    focus = [a for d in hsc.camera() if d.id >= 104 for a in d.amplifiers]
    assert all(np.isnan(a.suspect_level) and a.linearity_coeffs == () for a in focus)


def test_camera_equals_the_facts(shared):
    rows = facts(shared, "hsc_amps")
    assert len(rows) == 448
    for row in rows:
        amplifier = hsc.detector(int(row["detector"]))[row["amp_name"]]
        for ours, theirs in (
            ("bbox", "bbox"),
            ("raw_bbox", "raw_bbox"),
            ("raw_data_bbox", "raw_data"),
            ("raw_serial_overscan_bbox", "raw_serial_overscan"),
            ("raw_parallel_overscan_bbox", "raw_parallel_overscan"),
            ("raw_prescan_bbox", "raw_prescan"),
        ):
            expected = tuple(int(row[f"{theirs}_{key}"]) for key in ("x0", "y0", "w", "h"))
            assert getattr(amplifier, ours) == expected, (row["detector"], ours)
        for ours, theirs in (
            ("gain", "gain"),
            ("read_noise", "readnoise"),
            ("saturation", "saturation"),
            ("suspect_level", "suspect"),
        ):
            np.testing.assert_equal(getattr(amplifier, ours), float(row[theirs]))
        assert amplifier.linearity_type == row["linearity_type"]
        if amplifier.linearity_coeffs:
            assert amplifier.linearity_coeffs[0] == float(row["lin_c0"])
    for row in facts(shared, "hsc_detectors"):
        detector = hsc.detector(int(row["detector"]))
        assert (detector.name, detector.serial, detector.type) == (row["name"], row["serial"], row["type"])
        assert detector.focal_plane_position == (float(row["fp_x_mm"]), float(row["fp_y_mm"]))
        assert (detector.yaw, detector.raw_flip) == (float(row["yaw_deg"]), row["raw_flip"])
        assert detector.n_quarter == int(row["nQuarter"])


def test_defects_equal_the_facts(shared):
    tables = {}
    for row in facts(shared, "defects/hsc_defects_all"):
        key = int(row["detector"]), row["valid_start"][:10], row["valid_end"][:10]
        tables.setdefault(key, []).append([int(row[k]) for k in ("x0", "y0", "width", "height")])
    assert sum(map(len, tables.values())) == 6371
    for (detector, valid_from, valid_until), boxes in tables.items():
        table = hsc.defects(detector, valid_from)
        assert (table.valid_from, table.valid_until) == (valid_from, valid_until)
        np.testing.assert_array_equal(table.boxes, np.array(boxes, np.int32), strict=True)


def test_defects_by_date():
    boxes, valid_from, valid_until = hsc.defects(33, "2016-11-22T00:00:00.000")
    assert (boxes.dtype, boxes.shape[1]) == (np.int32, 4)
    assert (valid_from, valid_until) == ("2016-11-22", "2016-12-23")
    assert hsc.defects(33, "2016-11-21T23:59:59.999").valid_until == "2016-11-22"
    assert hsc.defects(33, "2030-01-01")[1:] == ("2016-12-23", "")
    assert hsc.defects(33, "1969-07-20")[1:] == ("1970-01-01", "2013-01-31")
    empty = hsc.defects(104, "2013-06-17")
    assert (empty.boxes.shape, *empty[1:]) == ((0, 4), "1970-01-01", "")
    with pytest.raises(CameraError, match="no detector 112"):
        hsc.defects(112, "2013-06-17")


def test_defects_can_be_changed_by_the_caller():
    hsc.defects(22, "2013-06-17").boxes[:] = 0
    assert hsc.defects(22, "2013-06-17").boxes.any()


def covered_amplifiers(detector, boxes):
    """Names of the amplifiers that boxes cover; pixels between the same edges make one cell."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    xs = np.unique([*range(0, 2049, 512), *low[:, 0], *high[:, 0]])
    ys = np.unique([0, 4176, *low[:, 1], *high[:, 1]])
    covered = np.zeros((len(ys) - 1, len(xs) - 1), bool)
    for (x0, y0), (x1, y1) in zip(low, high, strict=True):
        covered[np.ix_((ys[:-1] >= y0) & (ys[:-1] < y1), (xs[:-1] >= x0) & (xs[:-1] < x1))] = True
    return tuple(
        amplifier.name
        for amplifier in detector.amplifiers
        if covered[:, (xs[:-1] >= amplifier.bbox.x0) & (xs[:-1] < amplifier.bbox.x1)].all()
    )


def test_dead_amplifiers_are_those_covered_by_defects():
    dates = sorted(set(read_table("defects")["valid_from"]))
    found = set()
    for detector in hsc.camera():
        for date in dates:
            names = covered_amplifiers(detector, hsc.defects(detector.id, date).boxes)
            assert hsc.dead_amplifiers(detector.id, date) == names, (detector.id, date)
            found.update((detector.id, name) for name in names)
    always_or_once = {(0, "1"), (33, "0"), (33, "1"), (43, "0"), (94, "2")}
    assert found == always_or_once | {(9, name) for name in "0123"}


def test_dead_amplifiers_by_date():
    """NAOJ's dates of the failures of CCD 33 (spec section 2)."""
    assert hsc.dead_amplifiers(33, "2013-01-30") == ("0", "1")
    assert hsc.dead_amplifiers(33, "2013-06-17T10:00:00") == ()
    assert hsc.dead_amplifiers(33, "2016-11-22") == ("0",)
    assert hsc.dead_amplifiers(33, "2017-01-01") == ("0", "1")


def test_filters(shared):
    rows = facts(shared, "filters")
    # Seven filters are newer than that table.
    assert list(hsc.filters())[:25] == [row["physical_filter"] for row in rows]
    assert len(hsc.filters()) == 32
    assert len(rows) == 25
    for row in rows:
        ours = hsc.filters()[row["physical_filter"]]
        assert (ours.band, ours.fringe, ours.stray_light) == (
            row["band"],
            row["fringe_corrected"] == "True",
            row["straylight_corrected"] == "True",
        )
        assert ours.counts_mag0 == float(row["flux_mag0_1s"])
        np.testing.assert_equal(ours.wavelength, float(row["lambda_mean_nm"]))


def test_crosstalk_is_source_by_target():
    matrix = hsc.crosstalk_matrix()
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix.diagonal(), 0.0)
    np.testing.assert_allclose(matrix[0], [0, -124e-6, -171e-6, -157e-6], rtol=1e-12)
    np.testing.assert_allclose(matrix[:, 0], [0, -125e-6, -149e-6, -156e-6], rtol=1e-12)


def test_brighter_fatter_kernel():
    kernel = hsc.brighter_fatter_kernel()
    assert (kernel.shape, kernel.dtype) == ((17, 17), np.float64)
    np.testing.assert_allclose(kernel, kernel[::-1], rtol=1e-12)
    np.testing.assert_allclose(kernel, kernel[:, ::-1], rtol=1e-12)
    assert not np.allclose(kernel, kernel.T, rtol=1e-3, atol=0)
    assert kernel.sum() == pytest.approx(-4.6062e-06, rel=1e-4)


def test_vignette():
    assert hsc.VIGNETTE == (-1.5, 1.5, 262.5, 100)
