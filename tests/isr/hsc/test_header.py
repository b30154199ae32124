"""Headers to visit, detector and description."""

import math
from dataclasses import fields

import pytest

from isr import hsc
from isr.errors import HeaderError
from isr.exposure import VisitInfo
from isr.hsc.header import is_hsc, translate_header
from tests.isr.hsc.headers import ESSENTIAL, POINTING, essential, real_header

RAWS = hsc.ci_hsc_raws()


def utc_cards(raw):
    """Cards as the camera writes them: UTC, 35 s behind TAI."""
    from astropy.time import Time

    begin, end = (Time(t, scale="tai", precision=3).utc.isot.split("T") for t in (raw.tai_begin, raw.tai_end))
    return {"DATE-OBS": begin[0], "UT-STR": begin[1], "UT-END": end[1]}


def test_essential_cards():
    info, detector = translate_header(ESSENTIAL | POINTING)
    assert detector == 22
    expected = VisitInfo(
        instrument="HSC",
        visit=903334,
        obs_id="HSCA90333400",
        exposure_time=30.0,
        dark_time=30.0,
        date_begin="2013-06-17T13:29:11.039",
        date_avg="2013-06-17T13:29:27.267",
        date_end="2013-06-17T13:29:43.495",
        mjd_avg_ut1=info.mjd_avg_ut1,  # see test_times.py
        era=info.era,
        physical_filter="HSC-R",
        band="r",
        boresight_ra=pytest.approx(320.749925, abs=1e-12),
        boresight_dec=pytest.approx(-0.50001944444, abs=1e-10),
        boresight_az=226.5,
        boresight_alt=63.25,
        airmass=1.125,
        rotation_angle=260.0,
        rotation_type="SKY",
        longitude=-155.476667,
        latitude=19.825556,
        elevation=4139.0,
        air_temperature=0.0,
        air_pressure=62150.0,
        humidity=33.0,
        focus_z=3.75,
        observation_type="science",
        science_program="o13015",
        observation_reason="science",
        object="STRIPE82L",
        has_simulated_content=False,
    )
    for name in (field.name for field in fields(VisitInfo)):
        assert getattr(info, name) == getattr(expected, name), name
    assert info.mjd_avg_ut1 == pytest.approx(56460.5617, abs=1e-4)
    assert 0 < info.era < 360


def test_without_pointing():
    info, _ = translate_header(ESSENTIAL)
    unknown = (
        *(info.boresight_ra, info.boresight_dec, info.boresight_az, info.boresight_alt, info.airmass),
        *(info.rotation_angle, info.air_temperature, info.air_pressure, info.humidity, info.focus_z),
    )
    assert all(map(math.isnan, unknown))
    assert info.science_program == ""


@pytest.mark.parametrize("raw", RAWS, ids=lambda raw: raw.file)
def test_ci_hsc(raw):
    cards = utc_cards(raw) | {
        "EXP-ID": raw.exp_id,
        "FRAMEID": raw.frame_id,
        "DET-ID": raw.detector,
        "FILTER01": raw.physical_filter.replace("HSC-R", "HSC-r").replace("HSC-I", "HSC-i"),
        "OBJECT": raw.object,
        "EXPTIME": raw.exposure_time,
    }
    info, detector = translate_header(ESSENTIAL | cards)
    assert (info.visit, detector) == (raw.visit, raw.detector)
    assert (info.physical_filter, info.object) == (raw.physical_filter, raw.object)
    assert (info.date_begin, info.date_end) == (raw.tai_begin, raw.tai_end)


def test_real_header_2013(shared):
    """A file without INSTRUME, with numbers in quotes."""
    header = real_header(shared, "HSCA90402512_det050")
    assert "INSTRUME" not in header
    assert header["INST-PA"] == "0.000"
    assert is_hsc(header)
    info, detector = translate_header(header, "HSCA90402512.fits")
    assert (info.visit, detector, info.obs_id) == (904024, 50, "HSCA90402400")
    assert hsc.archive_file_name(info.visit, detector) == "HSCA90402512.fits"
    assert (info.physical_filter, info.band, info.exposure_time) == ("HSC-I", "i", 30.0)
    assert info.date_begin == "2013-11-02T06:16:30.908"
    assert info.date_end == "2013-11-02T06:17:02.928"
    assert info.date_avg == "2013-11-02T06:16:46.918"
    assert info.rotation_angle == 270.0
    assert info.air_temperature == pytest.approx(-0.8)
    assert info.air_pressure == pytest.approx(62170.0)


def test_real_header_2015(shared):
    header = real_header(shared, "HSCA04090107_det037")
    assert is_hsc(header)
    info, detector = translate_header(header, "HSCA04090107.fits")
    assert (info.visit, detector, info.obs_id) == (40900, 37, "HSCA04090000")
    assert hsc.archive_file_name(info.visit, detector) == "HSCA04090107.fits"
    assert (info.physical_filter, info.object, info.science_program) == ("HSC-R", "SSP-Wide", "o15426")
    assert info.date_begin == "2015-10-10T08:20:42.598"  # TAI-UTC had become 36 s


def test_real_horizontal_coordinates(shared):
    """AZIMUTH counts from north through east, though its comment says from south."""
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    header = real_header(shared, "HSCA04090107_det037")
    info, _ = translate_header(header)
    place = EarthLocation.from_geodetic(info.longitude, info.latitude, info.elevation)
    time = Time(f"{header['DATE-OBS']}T{header['UT']}", scale="utc")
    with iers.conf.set_temp("auto_download", False):
        sky = SkyCoord(info.boresight_ra * u.deg, info.boresight_dec * u.deg)
        horizontal = sky.transform_to(AltAz(obstime=time, location=place))
    assert horizontal.az.deg == pytest.approx(info.boresight_az, abs=0.02)
    assert horizontal.alt.deg == pytest.approx(info.boresight_alt, abs=0.02)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"EXP-ID": "HSCA90333400"}, True),
        ({"FRAMEID": "HSCA90333427"}, True),
        ({"INSTRUME": "Hyper Suprime-Cam"}, True),
        ({"INSTRUME": "Suprime-Cam", "EXP-ID": "HSCA90333400"}, False),
        ({"EXP-ID": "SUPA01234560"}, False),
        ({"EXP-ID": 7}, False),
        ({}, False),
    ],
)
def test_is_hsc(cards, expected):
    assert is_hsc(cards) is expected


def test_end_is_never_before_the_exposure_ends():
    late, _ = translate_header(essential(UT_END="13:28:40.000"))
    assert late.date_end == "2013-06-17T13:29:41.039"
    missing, _ = translate_header(essential(UT_END=None))
    assert missing.date_end == "2013-06-17T13:29:41.039"
    midnight, _ = translate_header(essential(UT_STR="23:59:50.000", UT_END="00:00:21.000"))
    assert midnight.date_end == "2013-06-18T00:00:55.000"


@pytest.mark.parametrize(
    ("det_id", "mjd", "detector"),
    [
        (112, 55927 + 391, 106),
        (107, 55927 + 404.9, 105),
        (113, 55927 + 400, 107),
        (115, 55927 + 400, 109),
        (108, 55927 + 400, 110),
        (114, 55927 + 400, 108),
        (22, 55927 + 400, 22),
        (107, 55927 + 390.9, 107),
        (107, 55927 + 405, 107),
        (108, None, 108),
    ],
)
def test_focus_detectors_of_commissioning_run_2(det_id, mjd, detector):
    assert translate_header(essential(DET_ID=det_id, MJD=mjd))[1] == detector


@pytest.mark.parametrize(
    ("value", "physical_filter", "band"),
    [
        ("HSC-i", "HSC-I", "i"),
        (" HSC-I2 ", "HSC-I2", "i"),
        ("NB0921", "NB0921", "N921"),
        ("Unrecognised", "unknown", "unknown"),
        ("NONE", "empty", "white"),
    ],
)
def test_filters(value, physical_filter, band):
    info, _ = translate_header(essential(FILTER01=value))
    assert (info.physical_filter, info.band) == (physical_filter, band)


@pytest.mark.parametrize(
    ("value", "observation_type", "reason"),
    [("OBJECT", "science", "science"), ("DOMEFLAT", "domeflat", "unknown"), ("BIAS", "bias", "unknown")],
)
def test_observation_type(value, observation_type, reason):
    info, _ = translate_header(essential(DATA_TYP=value))
    assert (info.observation_type, info.observation_reason) == (observation_type, reason)


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), (None, False), ("T", False)])
def test_simulated(value, expected):
    assert translate_header(essential(SIMULATE=value))[0].has_simulated_content is expected


def test_numbers_in_strings():
    info, detector = translate_header(essential(EXPTIME="30.0", DET_ID=" 22", AIRMASS="1.5"))
    assert (info.exposure_time, detector, info.airmass) == (30.0, 22, 1.5)


def test_unreadable_weather_is_logged(caplog):
    info, _ = translate_header(essential(OUT_HUM="##NODATA##"), "raw.fits")
    assert math.isnan(info.humidity)
    assert "raw.fits: header keyword OUT-HUM = '##NODATA##' is not a number" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"EXP_ID": None}, "keyword EXP-ID is missing; expected HSCE and 8 digits"),
        ({"EXP_ID": "  "}, "keyword EXP-ID is missing"),
        ({"EXP_ID": "HSCA9033"}, "keyword EXP-ID = 'HSCA9033'; expected"),
        ({"EXP_ID": "HSCA00000000", "FRAMEID": "x"}, r"keyword EXP-ID = 'HSCA00000000'; .*FRAMEID = 'x'"),
        ({"DET_ID": None}, "keyword DET-ID is missing"),
        ({"DET_ID": "x"}, "keyword DET-ID = 'x'"),
        ({"DET_ID": 22.5}, "keyword DET-ID = 22.5"),
        ({"DET_ID": True}, "keyword DET-ID = True"),
        ({"EXPTIME": None}, "keyword EXPTIME is missing"),
        ({"EXPTIME": float("inf")}, "keyword EXPTIME = inf"),
        ({"EXPTIME": -1.0}, "keyword EXPTIME = -1.0; .* not negative"),
        ({"EXPTIME": 1e300}, "keyword DATE-OBS"),
        ({"FILTER01": None}, "keyword FILTER01 is missing"),
        ({"FILTER01": "W-S-R+"}, r"keyword FILTER01 = 'W-S-R\+'; expected one of .*HSC-R"),
        ({"DATA_TYP": None}, "keyword DATA-TYP is missing"),
        ({"DATE_OBS": None}, "keyword DATE-OBS is missing"),
        ({"DATE_OBS": "17/06/13"}, "keyword DATE-OBS = '17/06/13'; expected yyyy-mm-dd"),
        ({"UT_STR": None}, "keyword UT-STR is missing"),
        ({"UT_STR": "25:00:00"}, r"UT-STR \(= '25:00:00'\)"),
        ({"UT_STR": "13:28:36+10"}, "time zone"),
        ({"RA2000": "21h22m"}, "keyword RA2000 = '21h22m'; expected an angle"),
        ({"DEC2000": "1:2"}, "keyword DEC2000"),
    ],
)
def test_bad_headers(changes, message):
    with pytest.raises(HeaderError, match=rf"^raw\.fits: header .*{message}"):
        translate_header(essential(**changes), "raw.fits")
