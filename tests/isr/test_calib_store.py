"""Selection of calibrations from a folder with an index."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isr.calib_index import CalibEntry, read_index, write_index
from isr.calib_rules import check_calibs
from isr.calib_store import load_calibs
from isr.calibs import CalibInfo, Defects
from isr.errors import CalibMismatchError, CalibMissingError, FitsFileError, ObjectError
from isr.fits import source
from isr.fits.calib import encode_calib_image, encode_defects
from isr.hsc import defects as hsc_defects
from tests import builders

HEADER = "type,detector,physical_filter,valid_from,valid_until,path,sha256\n"
ALL = {"doBias": True, "doDark": True, "doFlat": True, "doDefect": True}
RAW = builders.raw_frame()  # detector 7, HSC-R, 2020-02-03T04:05:06.789
SWITCHES = {"bias": "doBias", "dark": "doDark", "flat": "doFlat", "defects": "doDefect"}


def content(kind: str, detector: int = 7, physical_filter: str = "", seed: int = 0) -> bytes:
    """A file that says what it is of; the seed makes it differ from others."""
    if kind == "defects":
        return encode_defects(
            Defects(CalibInfo(kind, detector=detector), np.array([[seed, 1, 2, 3]], np.int32))
        )
    calib = builders.calib_image(kind, seed=seed)
    info = replace(calib.info, detector=detector, physical_filter=physical_filter)
    return encode_calib_image(replace(calib, info=info))


def store(folder: Path, *entries: CalibEntry) -> Path:
    """Write an index and, for each path, a file; the seed is the number of the entry."""
    for i, entry in enumerate(entries):
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(entry.type, entry.detector, entry.physical_filter, seed=i))
    (folder / "calibs.csv").write_text(write_index(entries))
    return folder


def entry(kind: str = "bias", **changes) -> CalibEntry:
    values = {"type": kind, "detector": 7, "path": f"{kind}/{kind}.fits"} | changes
    return CalibEntry(**values)


def chosen(folder: Path, kind: str = "bias", raw=RAW, **options) -> str:
    """Path, relative to the folder, of what is chosen."""
    calibs = load_calibs(folder, raw, builders.only(**{SWITCHES[kind]: True}), **options)
    return getattr(calibs, kind).info.name.removeprefix(f"{folder}/")


class TestLoad:
    def test_all_kinds_come_with_what_index_and_file_say(self, tmp_path):
        files = {"bias": {}, "dark": {}, "defects": {}, "flat": {"physical_filter": "HSC-R"}}
        store(
            tmp_path,
            *(entry(k, valid_from="2020-01-01", valid_until="2021-01-01", **v) for k, v in files.items()),
        )
        config = builders.only(**ALL)
        calibs = load_calibs(tmp_path, RAW, config)
        assert check_calibs(RAW, calibs, config) == {}
        for kind, calib in calibs.items():
            path = tmp_path / kind / f"{kind}.fits"
            assert calib.info.kind == kind
            assert calib.info.name == str(path)
            assert calib.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            assert (calib.info.detector, calib.info.valid_from, calib.info.valid_until) == (
                7,
                "2020-01-01",
                "2021-01-01",
            )
        assert calibs.flat.info.physical_filter == "HSC-R"
        assert calibs.dark.dark_time == 1.0
        assert calibs.defects.boxes.tolist() == [[2, 1, 2, 3]]
        assert calibs.forced == ()

    def test_only_what_the_configuration_needs_is_read(self, tmp_path):
        store(tmp_path, entry("dark"))
        calibs = load_calibs(tmp_path, RAW, builders.only(doDark=True))
        assert [kind for kind, _ in calibs.items()] == ["dark"]
        assert list(load_calibs(tmp_path / "nothing", RAW, builders.only()).items()) == []

    def test_a_string_with_a_slash_is_the_same_folder(self, tmp_path):
        store(tmp_path, entry())
        calibs = load_calibs(f"{tmp_path}/", RAW, builders.only(doBias=True))
        assert calibs.bias.info.name == f"{tmp_path}/bias/bias.fits"

    def test_a_file_uri(self, tmp_path):
        store(tmp_path, entry(path="50% flat #1.fits"))
        calibs = load_calibs(f"file://{tmp_path}", RAW, builders.only(doBias=True))
        assert calibs.bias.image.shape == RAW.detector.shape

    def test_an_s3_prefix(self, tmp_path, s3_bucket):
        from pipeline.objects import write_bytes

        store(tmp_path, entry())
        for name in ("calibs.csv", "bias/bias.fits"):
            write_bytes(f"{s3_bucket}/calibs/2020/{name}", (tmp_path / name).read_bytes())
        calibs = load_calibs(f"{s3_bucket}/calibs/2020", RAW, builders.only(doBias=True))
        assert calibs.bias.info.name == f"{s3_bucket}/calibs/2020/bias/bias.fits"

    def test_detector_and_filter_decide(self, tmp_path):
        store(
            tmp_path,
            entry("flat", detector=8, physical_filter="HSC-R", path="other_detector"),
            entry("flat", physical_filter="HSC-I", path="other_filter"),
            entry("flat", physical_filter="HSC-R", path="right"),
        )
        assert chosen(tmp_path, "flat") == "right"

    @pytest.mark.parametrize(
        ("valid_from", "valid_until", "fits"),
        [
            ("", "", True),
            ("2020-02-03", "2020-02-04", True),
            ("2020-02-03T04:05:06.789", "", True),
            ("2020-02-03T04:05:06.790", "", False),
            ("", "2020-02-03T04:05:06.789", False),
            ("2020-02-04", "", False),
            ("", "2020-02-03", False),
            ("2020-02-03 05:05:00+01:00", "2020-02-03T04:06:00Z", True),
        ],
    )
    def test_validity_includes_its_begin_and_not_its_end(self, tmp_path, valid_from, valid_until, fits):
        store(tmp_path, entry(valid_from=valid_from, valid_until=valid_until))
        if fits:
            assert chosen(tmp_path) == "bias/bias.fits"
        else:
            with pytest.raises(CalibMissingError, match="closest validity"):
                chosen(tmp_path)

    def test_of_several_the_latest_is_taken(self, tmp_path):
        store(
            tmp_path,
            entry(path="old", valid_from="2019-01-01"),
            entry(path="new", valid_from="2020-01-01"),
            entry(path="any"),
            entry(path="future", valid_from="2021-01-01"),
        )
        assert chosen(tmp_path) == "new"

    def test_two_that_fit_equally_are_an_error(self, tmp_path):
        store(tmp_path, entry(path="a", valid_from="2020-01-01"), entry(path="b", valid_from="2020-01-01"))
        with pytest.raises(CalibMissingError, match=r"2 that fit equally well.*\(a\).*\(b\)"):
            chosen(tmp_path)


class TestMissing:
    def test_message_names_what_was_wanted(self, tmp_path):
        store(tmp_path, entry("dark"))
        with pytest.raises(CalibMissingError) as error:
            chosen(tmp_path)
        for part in (
            "bias",
            "raw.fits",
            "detector 7",
            "HSC-R",
            "2020-02-03T04:05:06.789",
            str(tmp_path / "calibs.csv"),
        ):
            assert part in str(error.value)
        assert "has no bias at all" in str(error.value)
        assert "--force-calib" not in str(error.value)

    def test_other_detectors_are_named(self, tmp_path):
        store(tmp_path, *(entry(detector=i, path=f"{i}") for i in (22, 3)))
        with pytest.raises(
            CalibMissingError, match=r"has bias for detector 3, 22, not 7.*--force-calib bias"
        ):
            chosen(tmp_path)

    def test_other_filters_are_named(self, tmp_path):
        store(tmp_path, *(entry("flat", physical_filter=name, path=name) for name in ("HSC-I", "HSC-G")))
        with pytest.raises(CalibMissingError, match="flat of this detector for HSC-G, HSC-I, not HSC-R"):
            chosen(tmp_path, "flat")

    def test_closest_validity_is_named(self, tmp_path):
        store(
            tmp_path,
            entry(path="old", valid_until="2020-01-01"),
            entry(path="near", valid_from="2020-02-10", valid_until="2020-03-01"),
            entry(detector=8, path="valid"),
        )
        with pytest.raises(CalibMissingError, match=r"valid from 2020-02-10 until 2020-03-01 \(near\)"):
            chosen(tmp_path)

    def test_no_index(self, tmp_path):
        with pytest.raises(CalibMissingError, match=r"calibs\.csv.*cannot read the index"):
            chosen(tmp_path)

    def test_no_file(self, tmp_path):
        store(tmp_path, entry())
        (tmp_path / "bias" / "bias.fits").unlink()
        with pytest.raises(ObjectError, match=r"bias\.fits: no such file"):
            chosen(tmp_path)


class TestForce:
    def test_what_fits_is_preferred(self, tmp_path):
        store(tmp_path, entry(detector=8, path="other"), entry(path="right"))
        assert chosen(tmp_path, force=["bias"]) == "right"

    def test_nearest_is_same_detector_then_filter_then_date(self, tmp_path):
        flats = [
            entry("flat", detector=8, physical_filter="HSC-R", path="1"),
            entry("flat", physical_filter="HSC-I", path="2"),
            entry("flat", physical_filter="HSC-R", valid_until="2019-01-01", path="3"),
            entry("flat", physical_filter="HSC-R", valid_from="2020-03-01", path="4"),
        ]
        for n in (4, 3, 2, 1):
            assert chosen(store(tmp_path / str(n), *flats[:n]), "flat", force=["flat"]) == str(n)

    def test_check_calibs_sees_what_was_forced(self, tmp_path):
        store(tmp_path, entry("flat", detector=8, physical_filter="HSC-I", valid_until="2019-01-01"))
        config = builders.only(doFlat=True)
        calibs = load_calibs(tmp_path, RAW, config, force=["flat"])
        assert calibs.forced == ("flat",)
        problems = check_calibs(RAW, calibs, config)["flat"]
        assert "detector 8" in problems
        assert "HSC-I" in problems
        assert "2019-01-01" in problems

    def test_without_any_there_is_nothing_to_force(self, tmp_path):
        store(tmp_path, entry("dark"))
        with pytest.raises(CalibMissingError, match="no bias at all"):
            chosen(tmp_path, force=["bias"])

    def test_a_file_under_a_wrong_line_is_found_out(self, tmp_path):
        store(tmp_path, entry())
        (tmp_path / "bias" / "bias.fits").write_bytes(content("bias", detector=9))
        config = builders.only(doBias=True)
        with pytest.raises(CalibMismatchError, match="detector 9"):
            check_calibs(RAW, load_calibs(tmp_path, RAW, config), config)


class TestDefects:
    HSC = builders.raw_frame(
        builders.two_amplifiers(id=22), visit_info=replace(builders.VISIT_INFO, instrument="HSC")
    )

    def test_curated_ones_stand_in_for_hsc(self, tmp_path):
        store(tmp_path, entry("defects", detector=7))
        found = load_calibs(tmp_path, self.HSC, builders.only(doDefect=True)).defects
        boxes, valid_from, valid_until = hsc_defects(22, "2020-02-03")
        assert np.array_equal(found.boxes, boxes)
        assert found.info == CalibInfo(
            "defects",
            name=f"curated HSC defects {valid_from}",
            detector=22,
            valid_from=valid_from,
            valid_until=valid_until,
        )

    def test_the_index_comes_first(self, tmp_path):
        store(tmp_path, entry("defects", detector=22))
        assert chosen(tmp_path, "defects", self.HSC) == "defects/defects.fits"

    def test_an_index_that_has_the_detector_at_another_date_is_believed(self, tmp_path):
        store(tmp_path, entry("defects", detector=22, valid_until="2019-01-01"))
        with pytest.raises(CalibMissingError, match="closest validity"):
            chosen(tmp_path, "defects", self.HSC)

    def test_not_for_other_instruments(self, tmp_path):
        store(tmp_path, entry("defects", detector=22))
        with pytest.raises(CalibMissingError, match="for detector 22, not 7"):
            chosen(tmp_path, "defects")


class TestHashesAndCache:
    def test_sha256_is_verified(self, tmp_path):
        store(tmp_path, entry())
        right = hashlib.sha256((tmp_path / "bias" / "bias.fits").read_bytes()).hexdigest()
        index = tmp_path / "calibs.csv"
        index.write_text(write_index([entry(sha256=right)]))
        assert chosen(tmp_path) == "bias/bias.fits"
        index.write_text(write_index([entry(sha256="0" * 64)]))
        with pytest.raises(ObjectError, match=rf"SHA-256 is {right}.*says {'0' * 64}"):
            chosen(tmp_path)

    def test_damaged_files_are_named(self, tmp_path):
        store(tmp_path, entry())
        (tmp_path / "bias" / "bias.fits").write_bytes(content("bias")[:-2880])
        with pytest.raises(FitsFileError, match=r"bias\.fits.*cut short"):
            chosen(tmp_path)

    def test_each_file_is_read_once_with_a_cache(self, tmp_path, monkeypatch):
        store(tmp_path, entry("bias"), entry("dark"))
        reads = []
        read_bytes = source.read_bytes

        def counted(name):
            if not isinstance(name, bytes):
                reads.append(Path(name).name)
            return read_bytes(name)

        monkeypatch.setattr(source, "read_bytes", counted)
        cache: dict = {}
        config = builders.only(doBias=True, doDark=True)
        first = load_calibs(tmp_path, RAW, config, cache=cache)
        second = load_calibs(tmp_path, RAW, config, cache=cache)
        assert second.bias is first.bias
        assert second.dark is first.dark
        assert sorted(reads) == ["bias.fits", "calibs.csv", "calibs.csv", "dark.fits"]
        assert len(cache) == 2

    def test_a_file_with_two_validities_is_not_mixed_up(self, tmp_path):
        store(tmp_path, entry(valid_from="2020-01-01"), entry(valid_until="2020-01-01"))
        cache: dict = {}
        config = builders.only(doBias=True)
        late = load_calibs(tmp_path, RAW, config, cache=cache).bias.info
        raw = replace(RAW, visit_info=replace(RAW.visit_info, date_begin="2019-05-05T00:00:00"))
        early = load_calibs(tmp_path, raw, config, cache=cache).bias.info
        assert (late.valid_from, late.valid_until) == ("2020-01-01", "")
        assert (early.valid_from, early.valid_until) == ("", "2020-01-01")


class TestIndex:
    def test_round_trip(self):
        entries = [
            entry(
                "flat", physical_filter="HSC-R", valid_from="2012-12-19", valid_until="2013-12-14T12:00:00.5"
            ),
            entry("bias", sha256="0123456789abcdef" * 4, path="a folder/with, comma.fits"),
        ]
        assert read_index(write_index(entries)) == entries
        assert write_index([]) == HEADER

    def test_is_tolerant_where_it_does_not_matter(self):
        text = (
            "\ufeffpath, type,detector,physical_filter,valid_from,valid_until\r\n\r\n a.fits ,bias, 22,,,\r\n"
        )
        assert read_index(text) == [CalibEntry("bias", 22, "a.fits")]

    def test_times_are_brought_to_one_form(self):
        text = HEADER + "bias,7,,20130507,2013-05-07 12:00:00+02:00,a,\n"
        assert read_index(text) == [
            entry(path="a", valid_from="2013-05-07", valid_until="2013-05-07T10:00:00")
        ]

    @pytest.mark.parametrize(
        "path",
        ["../x.fits", "a/../../x.fits", "/etc/passwd", "..", "", ".", "a/..", "a\x00b", "a\nb"],
    )
    def test_paths_that_leave_the_folder_are_refused(self, path):
        text = HEADER + f'bias,7,,,,"{path}",\n'
        with pytest.raises(CalibMissingError, match=r"line [23], column path"):
            read_index(text)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (",7,,,,a,", r"line 2, column type: ''"),
            ("bias,x,,,,a,", r"line 2, column detector: 'x'"),
            ("bias,-1,,,,a,", r"line 2, column detector: '-1'"),
            ("bias,,,,,a,", r"line 2, column detector: ''"),
            ("bias,7,,2013-13-01,,a,", r"line 2, column valid_from: '2013-13-01'"),
            ("bias,7,,,soon,a,", r"line 2, column valid_until: 'soon'"),
            ("bias,7,,,,a,abc", r"line 2, column sha256: 'abc'"),
            ("bias,7,,,,a", r"line 2: 6 columns instead of 7"),
            ("bias,7,,,,a,,", r"line 2: 8 columns instead of 7"),
        ],
    )
    def test_malformed_lines_are_named(self, line, message):
        with pytest.raises(CalibMissingError, match=rf"x/calibs\.csv, {message}"):
            read_index(HEADER + line + "\n", "x/calibs.csv")

    @pytest.mark.parametrize(
        "text", ["", "type,detector\n", HEADER.replace("sha256", "sha"), HEADER.replace("path", "type")]
    )
    def test_wrong_columns_are_named(self, text):
        with pytest.raises(CalibMissingError, match="line 1: expected the columns type,detector"):
            read_index(text)

    def test_what_csv_cannot_parse_is_named(self):
        with pytest.raises(CalibMissingError, match="line 2: field larger than"):
            read_index(HEADER + "x" * 200_000)

    def test_binary_index(self, tmp_path):
        (tmp_path / "calibs.csv").write_bytes(b"\xff\xfe")
        with pytest.raises(CalibMissingError, match="not a text file in UTF-8"):
            chosen(tmp_path)

    def test_writing_refuses_what_reading_would(self):
        with pytest.raises(CalibMissingError, match="column path"):
            write_index([entry(path="../x")])
