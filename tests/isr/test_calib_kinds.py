"""Kinds of calibration beside frames and defects: when they are needed, found, used, and refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isr.calib_index import CalibEntry, read_index, write_index
from isr.calib_rules import check_calibs, needed_kinds, optional_kinds, used_kinds
from isr.calib_store import load_calibs
from isr.calibs import (
    KINDS,
    BrighterFatterKernel,
    CalibImage,
    CalibInfo,
    Calibs,
    Crosstalk,
    Linearizer,
    StrayLight,
)
from isr.errors import CalibMismatchError, CalibMissingError
from isr.fits.calib import encode_calib
from isr.hsc import brighter_fatter_kernel
from pipeline.cli import isr_run
from tests.builders import VISIT_INFO, calib_image, exposure, only, raw_frame, two_amplifiers

OLD_Y = replace(
    VISIT_INFO, instrument="HSC", physical_filter="HSC-Y", band="y", date_begin="2016-01-02T03:04:05"
)


def with_linearity():
    detector = two_amplifiers()
    amps = tuple(replace(a, linearity_type="Squared", linearity_coeffs=(1e-6,)) for a in detector.amplifiers)
    return replace(detector, amplifiers=amps)


def raw(visit_info=OLD_Y, detector=None):
    return raw_frame(detector or with_linearity(), visit_info=visit_info)


def config(**switches):
    found = only(**switches)
    found.fringe.filters = ["HSC-Y", "NB0921"]
    found.strayLight.filters = ["HSC-Y"]
    return found


EXTRA = ("doLinearize", "doCrosstalk", "doBrighterFatter", "doStrayLight", "doFringe")
ALL = dict.fromkeys(EXTRA, True)


def info(kind, **changes):
    return replace(CalibInfo(kind, name=f"{kind}.file", detector=7), **changes)


def calib(kind, **changes):
    """A calibration of the two-amplifier detector."""
    of = info(kind, **changes)
    match kind:
        case "linearizer":
            coeffs = {name: np.array([1e-6]) for name in "LR"}
            return Linearizer(of, dict.fromkeys("LR", "Squared"), coeffs)
        case "crosstalk":
            return Crosstalk(of, np.array([[0.0, 1e-4], [2e-4, 0.0]]))
        case "bfKernel" | "brighterFatterKernel":
            return BrighterFatterKernel(of, np.full((5, 5), 1e-9))
        case "yBackground":
            return StrayLight(of, (np.zeros((90, 5, 3), np.float32),) * 2, (20, 12), (2, 2, 3))
        case "fringe":
            return CalibImage(of, exposure().image)
    return calib_image(kind)


def calibs(**changes):
    kinds = ("fringe", "linearizer", "crosstalk", "bfKernel", "yBackground")
    return replace(Calibs(**{kind: calib(kind) for kind in kinds}), **changes)


class TestNeeded:
    def test_all(self):
        assert needed_kinds(raw(), config(**ALL)) == ("fringe", "bfKernel", "yBackground")
        assert optional_kinds(raw(), config(**ALL)) == ("linearizer", "crosstalk")
        assert needed_kinds(raw(), config()) == optional_kinds(raw(), config()) == ()
        assert set(used_kinds(raw(), calibs(), config(**ALL))) == {
            *("fringe", "bfKernel", "yBackground", "linearizer", "crosstalk")
        }
        without = calibs(linearizer=None, crosstalk=None)
        assert used_kinds(raw(), without, config(**ALL)) == ("fringe", "bfKernel", "yBackground")

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"physical_filter": "HSC-R", "band": "r"}, ()),
            ({"physical_filter": "NB0921", "band": "N921"}, ("fringe",)),
            ({"date_begin": "2018-01-01T00:00:00"}, ("fringe",)),
            ({"date_begin": "2017-12-31T23:59:59"}, ("fringe", "yBackground")),
        ],
    )
    def test_filter_and_date(self, changes, expected):
        of = raw(replace(OLD_Y, **changes))
        assert needed_kinds(of, config(doFringe=True, doStrayLight=True)) == expected

    def test_a_focus_ccd_has_neither_stray_light_nor_linearity(self):
        focus = raw(detector=two_amplifiers(type="FOCUS"))
        assert needed_kinds(focus, config(**ALL)) == ("fringe", "bfKernel")
        assert optional_kinds(focus, config(**ALL)) == ("crosstalk",)

    def test_the_command_can_force_each_kind(self):
        assert isr_run.KINDS == KINDS


class TestCheck:
    def test_matching_ones_pass(self):
        assert check_calibs(raw(), calibs(), config(**ALL)) == {}
        assert check_calibs(raw(), calibs(linearizer=None, crosstalk=None), config(**ALL)) == {}

    @pytest.mark.parametrize(
        ("kind", "switch"),
        [("fringe", "doFringe"), ("bfKernel", "doBrighterFatter"), ("yBackground", "doStrayLight")],
    )
    def test_missing(self, kind, switch):
        with pytest.raises(CalibMissingError, match=rf"no {kind} given, and {switch} is on.*{switch}=False"):
            check_calibs(raw(), calibs(**{kind: None}), config(**ALL))

    @pytest.mark.parametrize("kind", ["fringe", "linearizer", "crosstalk", "bfKernel", "yBackground"])
    def test_mismatches(self, kind):
        wrong = calibs(**{kind: calib(kind, detector=8, valid_until="2015-01-01", unit="electron")})
        with pytest.raises(CalibMismatchError, match=rf"{kind}\.file.*detector 8.*electron.*2015-01-01"):
            check_calibs(raw(), wrong, config(**ALL))
        forced = check_calibs(raw(), replace(wrong, forced=(kind,)), config(**ALL))
        assert set(forced) == {kind}
        assert check_calibs(raw(), wrong, config()) == {}

    @pytest.mark.parametrize(
        ("kind", "wrong", "problem"),
        [
            ("fringe", {"image": np.zeros((20, 23), np.float32)}, r"shape \(20, 23\).*is \(20, 24\)"),
            ("linearizer", {"types": {"L": "None"}}, r"amplifiers 'L', but.*'L' \(20, 12\), 'R' \(20, 12\)"),
            ("crosstalk", {"coeffs": np.zeros((4, 4))}, r"shape \(4, 4\).*one of 2 amplifiers"),
            ("bfKernel", {"gains": {"L": 3.0}}, r"gains of the amplifiers 'L'"),
            ("yBackground", {"shape": (20, 13)}, r"shapes \[\(20, 13\), \(20, 13\)\]"),
            ("yBackground", {"cubes": ()}, r"shapes \[\]"),
        ],
    )
    def test_what_does_not_fit_the_detector_is_refused_even_if_forced(self, kind, wrong, problem):
        bad = calibs(**{kind: replace(calib(kind), **wrong)})
        for forced in ((), (kind,)):
            with pytest.raises(CalibMismatchError, match=rf"{kind}\.file: .*{problem}.*not even with"):
                check_calibs(raw(), replace(bad, forced=forced), config(**ALL))

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"kernel": np.zeros((4, 4))}, r"shape \(4, 4\), expected a square with an odd"),
            ({"kernel": np.zeros((5, 3))}, r"shape \(5, 3\)"),
            ({"kernel": np.zeros(5)}, r"shape \(5,\)"),
            ({"kernel": np.where(np.arange(25).reshape(5, 5) == 7, np.nan, 0.0)}, r"nan at x=2, y=1"),
            ({"gains": {"L": 3.0, "R": np.inf}}, r"gains \{'R': inf\}"),
            ({"gains": {"L": 0.0, "R": 3.0}}, r"gains \{'L': 0.0\}"),
        ],
    )
    def test_kernels_that_make_no_sense(self, changes, problem):
        bad = calibs(bfKernel=replace(calib("bfKernel"), **changes))
        with pytest.raises(CalibMismatchError, match=rf"bfKernel bfKernel\.file: {problem}"):
            check_calibs(raw(), bad, config(**ALL))
        assert check_calibs(raw(), bad, config(doFringe=True)) == {}

    @pytest.mark.parametrize("kind", ["dark", "flat"])
    @pytest.mark.parametrize("value", [np.inf, -np.inf])
    def test_infinities_and_brighter_fatter(self, kind, value):
        frame = calib_image(kind)
        frame.image[3, 4] = value
        frame = replace(frame, mask=(~np.isfinite(frame.image)).astype(np.int32))
        of = raw(replace(OLD_Y, physical_filter="HSC-R"))
        some = calibs(**{kind: frame})
        switch = f"do{kind.title()}"
        with pytest.raises(
            CalibMismatchError, match=rf"{kind} {kind}\.fits: 1 infinite.*x=4, y=3.*visit 4242"
        ):
            check_calibs(of, some, config(**{switch: True}, doBrighterFatter=True))
        assert check_calibs(of, some, config(**{switch: True})) == {}
        assert check_calibs(of, some, config(doBrighterFatter=True)) == {}

    def test_nan_is_legal(self):
        frames = {kind: calib_image(kind) for kind in ("bias", "dark", "flat")}
        for frame in frames.values():
            frame.image[1, 1] = np.nan
        of = raw(replace(OLD_Y, physical_filter="HSC-R"))
        on = config(doBias=True, doDark=True, doFlat=True, doBrighterFatter=True)
        assert check_calibs(of, calibs(**frames), on) == {}


def store(folder, *entries):
    """Write files for the entries, and the index."""
    for entry in entries:
        kind, file = entry.type, folder / entry.path
        seed = float(entries.index(entry))
        found = calib(kind, detector=entry.detector, run=f"run {seed:g}")
        if kind == "brighterFatterKernel":
            found = replace(found, gains={"L": 3.0 + seed, "R": 3.5})
        file.write_bytes(encode_calib(found))
    (folder / "calibs.csv").write_text(write_index(entries))
    return folder


def entry(kind, **changes):
    return CalibEntry(**({"type": kind, "detector": 7, "path": kind} | changes))


class TestLoad:
    def test_all_kinds(self, tmp_path):
        kinds = ("fringe", "linearizer", "crosstalk", "bfKernel", "yBackground")
        store(tmp_path, *(entry(kind, physical_filter="HSC-Y" * (kind == "fringe")) for kind in kinds))
        cache = {}
        found = load_calibs(tmp_path, raw(), config(**ALL), cache=cache)
        assert [kind for kind, _ in found.items()] == list(kinds)
        assert check_calibs(raw(), found, config(**ALL)) == {}
        np.testing.assert_array_equal(found.crosstalk.coeffs, calib("crosstalk").coeffs)
        assert found.linearizer.coeffs["R"].tolist() == [1e-6]
        assert found.yBackground.levels == (2, 2, 3)
        again = load_calibs(tmp_path, raw(), config(**ALL), cache=cache)
        assert again.bfKernel is found.bfKernel

    def test_without_the_optional_ones(self, tmp_path):
        store(
            tmp_path,
            entry("linearizer", detector=8, path="a"),
            entry("crosstalk", valid_until="2000-01-01", path="b"),
        )
        on = config(doLinearize=True, doCrosstalk=True)
        assert load_calibs(tmp_path, raw(), on) == Calibs()
        forced = load_calibs(tmp_path, raw(), on, force=["linearizer", "crosstalk"])
        assert set(check_calibs(raw(), forced, on)) == {"linearizer", "crosstalk"}

    def test_needed_ones_must_be_there(self, tmp_path):
        store(tmp_path, entry("fringe", physical_filter="NB0921"))
        with pytest.raises(CalibMissingError, match=r"No fringe.*for NB0921, not HSC-Y"):
            load_calibs(tmp_path, raw(), config(doFringe=True))
        with pytest.raises(CalibMissingError, match=r"No yBackground.*has no yBackground at all"):
            load_calibs(tmp_path, raw(), config(doStrayLight=True))

    def test_the_packaged_kernel_stands_in_for_hsc(self, tmp_path):
        store(tmp_path, entry("bfKernel", detector=8))
        found = load_calibs(tmp_path, raw(), config(doBrighterFatter=True)).bfKernel
        np.testing.assert_array_equal(found.kernel, brighter_fatter_kernel())
        assert found.info.name == "packaged HSC kernel"
        with pytest.raises(CalibMissingError, match="has bfKernel for detector 8, not 7"):
            load_calibs(tmp_path, raw(VISIT_INFO), config(doBrighterFatter=True))

    def test_the_new_kernel_comes_before_the_old(self, tmp_path):
        of_all = entry("bfKernel", detector=None, valid_from="2015-06-01", path="all")
        new = entry("brighterFatterKernel", valid_from="2015-01-01", valid_until="2016-01-02", path="new")
        on = config(doBrighterFatter=True)
        store(tmp_path, of_all, replace(new, valid_until=""))
        assert load_calibs(tmp_path, raw(), on).bfKernel.gains == {"L": 4.0, "R": 3.5}
        store(tmp_path, of_all, new)
        assert load_calibs(tmp_path, raw(), on).bfKernel.info.name == str(tmp_path / "all")

    def test_a_file_of_all_detectors(self, tmp_path):
        of_all = entry("crosstalk", detector=None, valid_from="2015-01-01", path="all")
        on = config(doCrosstalk=True)
        found = load_calibs(store(tmp_path, of_all), raw(), on)
        assert found.crosstalk.info.detector is None
        assert check_calibs(raw(), found, on) == {}
        own = entry("crosstalk", path="own")
        assert load_calibs(store(tmp_path, of_all, own), raw(), on).crosstalk.info.name.endswith("own")

    def test_only_some_types_can_be_of_all_detectors(self):
        header = "type,detector,physical_filter,valid_from,valid_until,path\n"
        assert read_index(f"{header}bfKernel,,,,,k.pkl\n")[0].detector is None
        with pytest.raises(CalibMissingError, match="column detector: ''"):
            read_index(f"{header}flat,,HSC-R,,,flat.fits\n")
        assert "of all detectors" in str(entry("bfKernel", detector=None))
