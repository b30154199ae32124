"""Headers and files of simulated raws, read back by the engine's own readers and by astropy."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from astropy.io import fits

from isr.errors import HeaderError
from isr.fits.raw import read_raw
from isr.hsc import detector as hsc_detector
from isr.hsc.header import translate_header
from isr.simulate import SimulationConfig, simulate_calibs, simulate_raw
from isr.simulate.files import encode_raw, encode_truth
from isr.simulate.hsc_header import SimulatedVisit, raw_cards, simulated_visit
from tests.isr.simulated import small_detector, visit_info


def header_of(visit: int, detector: int, **changes):
    cards = raw_cards(simulated_visit(visit, **changes), hsc_detector(detector))
    assert len({key for key, _, _ in cards}) == len(cards)
    return {key: value for key, value, _ in cards}


@pytest.fixture(scope="module")
def frame():
    config = SimulationConfig(n_stars=3)
    detector = small_detector()
    return simulate_raw(detector, visit_info(), simulate_calibs(detector, "HSC-R", config), config)


def test_known_visit_keeps_its_times_filter_and_names():
    header = header_of(903334, 22)
    assert header["EXP-ID"] == "HSCA90333400"
    assert header["FRAMEID"] == "HSCA90333427"
    assert (header["DET-ID"], header["T_BEEID"], header["T_SDOID"]) == (22, 0, 27)
    assert header["FILTER01"] == "HSC-r"
    assert (header["DATE-OBS"], header["UT-STR"], header["UT-END"]) == (
        "2013-06-17",
        "13:28:36.039",  # TAI 13:29:11.039
        "13:29:08.495",
    )
    assert header["MJD"] == pytest.approx(56460.561528, abs=1e-6)
    assert header["SIMULATE"] is True


def test_header_is_understood():
    info, detector = translate_header(header_of(903986, 100))
    assert detector == 100
    assert (info.visit, info.physical_filter, info.band, info.object) == (903986, "HSC-I", "i", "STRIPE82L")
    assert info.date_begin.startswith("2013-11-02T05:19:02.876")
    assert (info.exposure_time, info.dark_time) == (30.0, 30.0)
    assert info.boresight_ra == pytest.approx(320.749925, abs=1e-5)
    assert info.boresight_dec == pytest.approx(0.50002, abs=1e-5)
    assert info.has_simulated_content


def test_filter_and_exposure_time_can_be_chosen():
    info, _ = translate_header(header_of(903334, 22, physical_filter="NB0921", exposure_time=240.0))
    assert info.physical_filter == "NB0921"
    assert info.exposure_time == 240.0
    duration = datetime.fromisoformat(info.date_end) - datetime.fromisoformat(info.date_begin)
    assert timedelta(seconds=240) <= duration <= timedelta(seconds=245)


@pytest.mark.parametrize("visit", [2, 40900, 903400, 999998, 1234566, 25999998])
def test_any_even_visit_has_a_plausible_header(visit):
    info, detector = translate_header(header_of(visit, 111))
    assert info.visit == visit
    assert detector == 111
    assert info.date_begin > "2012"
    assert info.boresight_alt > 45.0
    assert 1.0 <= info.airmass < 1.5


def test_dates_grow_with_the_visit_number():
    for visits in ([2, 4, 1000, 899998], [900000, 900002, *range(903330, 904020, 2), 950000, 1000000]):
        begins = [simulated_visit(visit).begin for visit in visits]
        assert begins == sorted(begins)


@pytest.mark.parametrize("visit", [0, -2, 903335, 26_000_000])
def test_impossible_visits_are_refused(visit):
    with pytest.raises(HeaderError, match=str(visit)):
        simulated_visit(visit)


def test_impossible_exposure_time_is_refused():
    with pytest.raises(HeaderError, match="exposure time"):
        simulated_visit(903334, exposure_time=-1.0)


def test_positions_and_sidereal_time_of_a_real_header():
    """HSCA90402512 of 2013-11-02; precession (0.2 degree) is left out."""
    begin = datetime(2013, 11, 2, 6, 15, 55, 908000)
    visit = SimulatedVisit(904024, "HSC-I", 30.0, begin, begin + timedelta(seconds=32.02), "STRIPE82L")
    header = {key: value for key, value, _ in raw_cards(visit, hsc_detector(50))}
    assert header["RA2000"] == "21:22:59.982"
    assert header["DEC2000"] == "+00:30:00.07"
    assert header["FRAMEID"] == "HSCA90402512"
    assert header["LST-STR"].startswith("22:40:4")  # real: 22:40:45.506
    assert header["ALTITUDE"] == pytest.approx(63.04, abs=0.25)
    assert header["AZIMUTH"] == pytest.approx(226.69, abs=0.25)
    assert header["CRPIX1"] == pytest.approx(1024.5, abs=5.0)
    assert header["CRPIX2"] == pytest.approx(4395.2, abs=30.0)
    assert header["CD1_2"] == pytest.approx(4.7222e-5, rel=1e-4)
    assert header["CD2_1"] == pytest.approx(-4.7222e-5, rel=1e-4)


@pytest.mark.parametrize(("detector", "rows"), [(50, (50, 4225, 4226, 4241)), (100, (17, 4192, 1, 16))])
def test_channels_are_numbered_in_the_stored_frame(detector, rows):
    header = header_of(903334, detector)
    assert tuple(header[key] for key in ("T_EFMN12", "T_EFMX12", "T_OSMN12", "T_OSMX12")) == rows
    columns = [header[f"T_{kind}{n}1"] for n in range(1, 5) for kind in ("EFMN", "EFMX", "OSMN", "OSMX")]
    assert columns[:8] == [9, 520, 521, 536, 553, 1064, 537, 552]
    assert columns[8:] == [1081, 1592, 1593, 1608, 1625, 2136, 1609, 1624]
    first = 0 if detector == 100 else 3  # channel 1 is amplifier 3 after a left-right flip
    assert header["T_GAIN1"] == round(hsc_detector(detector).amplifiers[first].gain, 2)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("flip", ["LR", "TB", ""])
def test_raw_is_stored_unflipped_as_unsigned_integers(frame, flip, compress):
    raw, _ = frame
    raw = replace(raw, detector=small_detector(raw_flip=flip))
    data = encode_raw(raw, [("EXP-ID", "HSCA90333400", "First frame ID")], compress=compress)
    with fits.open(io.BytesIO(data), checksum=True) as hdus:  # a wrong checksum is a warning, hence an error
        hdu = hdus[int(compress)]
        stored = hdu.data
        assert hdu.header["EXP-ID"] == "HSCA90333400"
        assert (hdu.header["BITPIX"], hdu.header["BZERO"]) == (16, 32768)
    expected = {"LR": raw.pixels[:, ::-1], "TB": raw.pixels[::-1], "": raw.pixels}[flip]
    assert stored.dtype == np.uint16
    assert np.array_equal(stored, expected)
    assert (b"RICE_1" in data) == compress
    with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
        assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus)
        assert hdus[int(compress)].header["BLANK"] == -32768


@pytest.mark.parametrize("compress", [False, True])
def test_raw_bytes_are_reproducible(frame, compress):
    raw, _ = frame
    cards = raw_cards(simulated_visit(903334), hsc_detector(22))
    assert encode_raw(raw, cards, compress=compress) == encode_raw(raw, cards, compress=compress)


@pytest.mark.parametrize(("detector", "compress"), [(22, False), (100, True)])
def test_engine_reads_what_was_simulated(detector, compress):
    """A full-size frame, because HSC's detectors have one size."""
    hsc = hsc_detector(detector)
    pixels = np.random.default_rng(detector).integers(900, 1100, hsc.raw_shape, np.uint16)
    pixels[0, 0], pixels[1, 1] = 0, 65535
    cards = raw_cards(simulated_visit(903334), hsc)
    info, _ = translate_header({key: value for key, value, _ in cards})
    config = SimulationConfig()
    small, _ = simulate_raw(
        small_detector(), info, simulate_calibs(small_detector(), "HSC-R", config), config
    )
    raw = replace(small, detector=hsc, pixels=pixels)
    again = read_raw(encode_raw(raw, cards, compress=compress), name="simulated")
    assert np.array_equal(again.pixels, pixels)
    assert again.detector.id == detector
    assert again.visit_info == raw.visit_info
    assert again.exposure_id == 903334 * 200 + detector


def test_truth_file_holds_images_masks_and_numbers(frame):
    _, truth = frame
    data = encode_truth(truth)
    assert data == encode_truth(truth)
    with fits.open(io.BytesIO(data), checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK", "SKY", "OVERSCAN"]
        assert np.array_equal(hdus["IMAGE"].data, truth.image)
        assert np.array_equal(hdus["SKY"].data, truth.sky)
        mask, header = hdus["MASK"].data, hdus["MASK"].header
        for name, expected in (("SAT", truth.saturated), ("BAD", truth.defects), ("BLED", truth.bled)):
            assert np.array_equal(mask >> header[f"MP_{name}"] & 1, expected)
        assert np.allclose(hdus["OVERSCAN"].data, truth.overscan_levels, atol=1e-3)
        assert hdus[0].header["GAINREF"] == pytest.approx(truth.reference_gain)
        assert [hdus[0].header[f"PEDESTL{i}"] for i in range(4)] == truth.amp_offsets.tolist()
