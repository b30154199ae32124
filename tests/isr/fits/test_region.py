"""Parts of exposures: the right pixels, and few bytes read."""

from __future__ import annotations

import gzip
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS as AstropyWcs

from isr.camera import Amplifier, Box, Detector
from isr.errors import FitsFileError, HeaderError
from isr.exposure import AB_ZERO_FLUX, Exposure
from isr.fits.exposure import encode_exposure, read_exposure
from isr.fits.region import COMPONENTS, PLANES, read_component, read_region
from isr.hsc import detector as hsc_detector
from isr.hsc.wcs import tan_wcs
from isr.mask import DEFAULT_PLANES
from tests.isr.fits.golden import exposure_names
from tests.isr.fits.test_exposure import VISIT_INFO

NX, NY = 300, 200
BOX = Box(120, 31, 50, 17)
PART = replace(VISIT_INFO, rotation_angle=30.0)


class Counting(io.BytesIO):
    """A stream that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.count = 0
        self.requests = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        self.requests += 1
        return data


def detector() -> Detector:
    box = Box(0, 0, NX, NY)
    halves = [Box(0, 0, NX // 2, NY), Box(NX // 2, 0, NX // 2, NY)]
    none, levels = Box(0, 0, 0, 0), {"saturation": 5e4, "suspect_level": 6e4}
    amplifiers = tuple(Amplifier(str(i), half, half, half, none, **levels) for i, half in enumerate(halves))
    place = {"focal_plane_position": (47.0, 12.0), "reference_pixel": (149.5, 99.5), "pixel_size": 0.015}
    return Detector(7, "T_07", "s7", "SCIENCE", box, (NY, NX), amplifiers, yaw=90.0, **place)


def exposure(**changes) -> Exposure:
    random = np.random.default_rng(5)
    image = random.normal(400.0, 12.0, (NY, NX)).astype(np.float32)
    mask = (random.random((NY, NX)) < 0.1).astype(np.int32) << 4
    image[40, 130], image[41, 131] = np.nan, -np.inf
    values = {
        "image": image,
        "mask": mask,
        "variance": image / np.float32(3.0),
        "detector": detector(),
        "visit_info": PART,
        "metadata": {"LSST ISR UNITS": "adu", "FLUXMAG0": 5.7e10, "KEY": "value"},
        "exposure_id": 180666807,
        "wcs": tan_wcs(detector(), PART),
        "valid_polygon": np.array([[0.0, 0.0], [299.0, 0.0], [150.0, 199.0]]),
    }
    return Exposure(**(values | changes))


def plane_bits(found: Exposure) -> list[tuple]:
    return [(p.dtype.str, p.shape, p.tobytes()) for p in (found.image, found.mask, found.variance)]


def cut(whole: Exposure, box: Box) -> list[tuple]:
    """The planes of a box, counted from the first pixel of the planes."""
    view = whole.view(box)
    return [(p.dtype.str, p.shape, p.tobytes()) for p in (view.image, view.mask, view.variance)]


@pytest.fixture(scope="module", params=["none", "gzip2"])
def data(request):
    return encode_exposure(exposure(), request.param)


@pytest.fixture(scope="module")
def plain():
    return encode_exposure(exposure())


class TestRegion:
    @pytest.mark.parametrize(
        "box",
        [BOX, Box(0, 0, NX, NY), Box(0, 0, 1, 1), Box(NX - 1, NY - 1, 1, 1), Box(0, 199, NX, 1)],
    )
    def test_planes_are_those_of_the_whole(self, data, box):
        found = read_region(io.BytesIO(data), box)
        assert plane_bits(found) == cut(exposure(), box)
        assert found.bbox == box
        for name in PLANES:
            assert getattr(found, name).flags.c_contiguous

    def test_everything_else_is_as_read_whole(self, data):
        found, whole = read_region(io.BytesIO(data), BOX), read_exposure(data)
        for name in ("visit_info", "planes", "exposure_id", "detector"):
            assert getattr(found, name) == getattr(whole, name)
        assert repr(found.metadata) == repr(whole.metadata)
        assert found.valid_polygon.tobytes() == whole.valid_polygon.tobytes()
        assert found.detector == detector()

    def test_the_wcs_gives_the_same_place_to_the_same_pixel(self, data):
        found, whole = read_region(io.BytesIO(data), BOX), exposure()
        here = AstropyWcs(fits.Header(found.wcs)).pixel_to_world_values(3.0, 4.0)
        there = AstropyWcs(fits.Header(whole.wcs)).pixel_to_world_values(BOX.x0 + 3.0, BOX.y0 + 4.0)
        assert np.allclose(here, there, rtol=0, atol=1e-11)

    def test_long_headers(self):
        metadata = {f"LSST ISR THING {i}": i for i in range(400)}
        content = encode_exposure(exposure(metadata=metadata))
        assert content.index(f"{'END':80}".encode()) > 2 * 11520
        assert read_region(io.BytesIO(content), BOX).metadata == metadata

    def test_a_part_without_wcs(self):
        assert read_region(io.BytesIO(encode_exposure(exposure(wcs={}))), BOX).wcs == {}

    @pytest.mark.parametrize("compression", ["none", "gzip2"])
    def test_a_part_can_be_written_and_read_again(self, data, compression):
        part = read_region(io.BytesIO(data), BOX)
        content = encode_exposure(part, compression)
        found = read_exposure(content)
        assert plane_bits(found) == plane_bits(part)
        assert found.origin == (120, 31)
        assert found.wcs == part.wcs
        assert found.detector == part.detector == detector()
        assert found.valid_polygon.tobytes() == part.valid_polygon.tobytes()
        with fits.open(io.BytesIO(content)) as hdus:
            for hdu in hdus[1:4]:
                assert (hdu.header["LTV1"], hdu.header["LTV2"]) == (-120.0, -31.0)
                assert (hdu.header["CRVAL1A"], hdu.header["CRVAL2A"]) == (120.0, 31.0)

    def test_of_a_part_boxes_count_from_the_detector_or_from_its_first_pixel(self, data):
        content = encode_exposure(read_region(io.BytesIO(data), BOX), "gzip2")
        inner = Box(125, 40, 9, 8)
        local = Box(5, 9, 9, 8)
        for found in (
            read_region(io.BytesIO(content), inner),
            read_region(io.BytesIO(content), local, origin="LOCAL"),
        ):
            assert plane_bits(found) == cut(exposure(), inner)
            assert found.bbox == inner
            assert found.wcs["CRPIX1"] == pytest.approx(exposure().wcs["CRPIX1"] - 125)
        assert read_component(io.BytesIO(content), "bbox") == BOX
        assert read_component(io.BytesIO(content), "xy0") == (120, 31)

    @pytest.mark.parametrize("compression", ["none", "gzip2"])
    def test_a_part_of_hscs_detector_is_recognised(self, compression):
        expected = hsc_detector("0_27")
        part = exposure(detector=expected, origin=(1000, 4000 - NY))
        assert read_exposure(encode_exposure(part, compression)).detector is expected
        assert read_component(io.BytesIO(encode_exposure(part)), "detector") is expected

    def test_a_given_detector_is_taken_if_the_file_names_it(self, plain):
        given = replace(detector(), serial="other")
        assert read_region(io.BytesIO(plain), BOX, detector=given).detector is given
        content = encode_exposure(read_region(io.BytesIO(plain), BOX))
        assert read_exposure(content, given).detector is given
        with pytest.raises(FitsFileError, match=r"\(17, 50\).*detector 7"):
            read_exposure(content, replace(given, name="T_08"))

    @pytest.mark.parametrize(
        "box",
        [Box(-1, 0, 5, 5), Box(0, 196, 5, 5), Box(296, 0, 5, 5), Box(5, 5, 0, 3), Box(5, 5, 3, -1)],
    )
    def test_boxes_that_are_not_inside_are_named(self, plain, box):
        for read in (
            lambda: read_region(io.BytesIO(plain), box, name="x.fits"),
            lambda: read_component(io.BytesIO(plain), "mask", box, name="x.fits"),
        ):
            with pytest.raises(ValueError, match=r"x\.fits: Box\(x0=.*which is Box\(x0=0.*") as error:
                read()
            assert str(box) in str(error.value)
            assert str(Box(0, 0, NX, NY)) in str(error.value)

    def test_unknown_origin(self, plain):
        with pytest.raises(ValueError, match="'PARENT' or 'LOCAL'"):
            read_region(io.BytesIO(plain), BOX, origin="local")


class TestBytesRead:
    """Headers are read in pieces of 11520 bytes, one request each."""

    PIECE = 11520

    @pytest.mark.parametrize("component", PLANES)
    def test_plain_rows(self, plain, component):
        stream = Counting(plain)
        read_component(stream, component, BOX)
        index = 1 + PLANES.index(component)
        assert stream.count <= 512 + (1 + index) * self.PIECE + BOX.height * NX * 4
        assert stream.requests <= 3 + index

    def test_tiles(self):
        data = encode_exposure(exposure(), "gzip2")
        with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
            tiles = [len(tile) for tile in hdus[1].data["COMPRESSED_DATA"]]
        stream = Counting(data)
        read_component(stream, "image", BOX)
        needed = sum(tiles[BOX.y0 : BOX.y1])
        assert needed > 17 * 300  # or the test would see nothing
        assert stream.count <= 512 + 2 * self.PIECE + BOX.height * 8 + needed

    def test_a_region_reads_headers_rows_and_archive(self, plain):
        with fits.open(io.BytesIO(plain)) as hdus:
            archive = len(plain) - hdus[4].fileinfo()["hdrLoc"]
        stream = Counting(plain)
        read_region(stream, BOX)
        assert stream.count <= 512 + 5 * self.PIECE + archive + 3 * BOX.height * NX * 4
        assert stream.count < len(plain) / 3

    @pytest.mark.parametrize("component", ["bbox", "xy0", "dimensions", "id", "wcs"])
    def test_what_is_in_the_first_headers(self, data, component):
        stream = Counting(data)
        read_component(stream, component)
        assert stream.count <= 512 + 2 * self.PIECE
        assert stream.requests <= 3

    @pytest.mark.parametrize(
        "component", ["filter", "visitInfo", "detector", "metadata", "photoCalib", "maskPlanes"]
    )
    def test_what_needs_the_archive(self, data, component):
        with fits.open(io.BytesIO(data)) as hdus:
            archive = len(data) - hdus[4].fileinfo()["hdrLoc"]
        stream = Counting(data)
        read_component(stream, component)
        assert stream.count <= 512 + 5 * self.PIECE + archive
        assert stream.requests <= 7


class TestComponents:
    def test_they_are_the_attributes_of_the_whole(self, data):
        whole = read_exposure(data)
        found = {name: read_component(io.BytesIO(data), name) for name in COMPONENTS}
        for name in PLANES:
            assert found[name].tobytes() == getattr(whole, name).tobytes()
            assert found[name].dtype == getattr(whole, name).dtype
        assert found["maskPlanes"] == whole.planes
        assert found["metadata"] == whole.metadata
        assert found["visitInfo"] == whole.visit_info
        assert found["detector"] == whole.detector
        assert found["validPolygon"].tobytes() == whole.valid_polygon.tobytes()
        assert found["bbox"] == whole.bbox
        assert found["xy0"] == (0, 0)
        assert found["dimensions"] == (NX, NY)
        assert found["id"] == 180666807
        assert found["filter"] == ("r", "HSC-R")
        assert found["photoCalib"] == (AB_ZERO_FLUX / 5.7e10, 0.0)

    def test_wcs(self, data):
        found = read_component(io.BytesIO(data), "wcs")
        expected = AstropyWcs(fits.Header(exposure().wcs))
        assert isinstance(found, AstropyWcs)
        assert np.array_equal(
            found.pixel_to_world_values(10.0, 20.0), expected.pixel_to_world_values(10.0, 20.0)
        )

    def test_what_is_not_there_is_none(self):
        bare = exposure(wcs={}, valid_polygon=None, metadata={})
        content = encode_exposure(bare)
        for component in ("wcs", "validPolygon", "photoCalib"):
            assert read_component(io.BytesIO(content), component) is None

    def test_unknown_components_are_refused(self, plain):
        with pytest.raises(ValueError, match=r"'psf' is no component.*bbox, detector"):
            read_component(io.BytesIO(plain), "psf")

    def test_a_box_of_what_has_no_pixels_is_refused(self, plain):
        with pytest.raises(ValueError, match="wcs has no pixels"):
            read_component(io.BytesIO(plain), "wcs", BOX)

    def test_a_header_that_makes_no_sense_is_named(self, plain):
        damaged = plain.replace(b"EXPID   =            180666807", b"EXPID   =                  'x'")
        with pytest.raises(HeaderError, match="EXPID = 'x'"):
            read_component(io.BytesIO(damaged), "id")
        damaged = plain.replace(b"CRVAL1A =                  0.0", b"CRVAL1A =                  0.5")
        with pytest.raises(HeaderError, match=r"CRVAL1A = 0\.5"):
            read_component(io.BytesIO(damaged), "bbox")


def compressed(tile: tuple[int, int], **options) -> bytes:
    whole = exposure()
    stream = io.BytesIO()
    options = {"compression_type": "GZIP_2", "quantize_level": 0} | options
    planes = [whole.image, whole.mask, whole.variance]
    planes[0] = np.nan_to_num(planes[0], posinf=0.0, neginf=0.0) if options["quantize_level"] else planes[0]
    hdus = [fits.PrimaryHDU()]
    for name, plane in zip(("IMAGE", "MASK", "VARIANCE"), planes, strict=True):
        header = fits.Header({"EXTTYPE": name, "INHERIT": True})
        hdus.append(fits.CompImageHDU(plane, header, tile_shape=tile, **options))
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


class TestOtherTiles:
    @pytest.mark.parametrize(
        "options",
        [
            {"tile": (1, NX)},
            {"tile": (7, NX)},
            {"tile": (NY, NX)},
            {"tile": (25, 50)},
            {"tile": (1, NX), "compression_type": "GZIP_1"},
            {"tile": (3, NX), "compression_type": "RICE_1", "quantize_level": 16, "quantize_method": 2},
            {"tile": (1, NX), "compression_type": "RICE_1", "quantize_level": 8, "quantize_method": 1},
        ],
    )
    def test_are_read_as_in_the_whole(self, options):
        if "quantize_method" in options:
            options["dither_seed"] = 9990  # so that the numbers of the rows pass 10000
        content = compressed(**options)
        found, whole = read_region(io.BytesIO(content), BOX), read_exposure(content)
        assert plane_bits(found) == cut(whole, BOX)

    def test_only_tiles_with_the_rows_are_read(self):
        content = compressed((7, NX))
        stream = Counting(content)
        read_component(stream, "image", Box(0, 70, 10, 7))
        assert stream.count < 512 + 2 * 11520 + 7 * NX * 4

    def test_tiles_in_any_order_of_the_heap(self):
        content = compressed((1, NX))
        with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
            table = hdus[1]
            place = table.fileinfo()["datLoc"]
            rows, heap = 8 * NY, table.header["PCOUNT"]
        area = content[place + rows : place + rows + heap]
        descriptors = np.frombuffer(content[place : place + rows], ">i4").reshape(-1, 2)
        order = np.random.default_rng(1).permutation(NY)
        moved, shuffled, position = descriptors.copy(), b"", 0
        for row in order:
            length, offset = descriptors[row]
            shuffled += area[offset : offset + length]
            moved[row] = length, position
            position += length
        changed = content[:place] + moved.tobytes() + shuffled + content[place + rows + len(shuffled) :]
        assert changed != content
        assert plane_bits(read_region(io.BytesIO(changed), BOX)) == cut(read_exposure(changed), BOX)
        assert plane_bits(read_region(io.BytesIO(changed), BOX)) == cut(exposure(), BOX)


class TestOtherFiles:
    def test_a_scaled_primary_image(self):
        stream = io.BytesIO()
        pixels = np.arange(NX * NY, dtype=np.uint16).reshape(NY, NX)
        fits.PrimaryHDU(pixels).writeto(stream)
        found = read_region(stream, BOX)
        assert np.array_equal(found.image, pixels[BOX.slices].astype(np.float32))
        assert not found.mask.any()
        assert not found.variance.any()
        assert found.planes == DEFAULT_PLANES
        assert read_component(stream, "maskPlanes") == DEFAULT_PLANES
        assert read_component(stream, "mask").shape == (NY, NX)

    def test_a_bare_extension(self):
        stream = io.BytesIO()
        image = exposure().image
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(stream)
        assert plane_bits(read_region(stream, BOX))[0] == cut(exposure(), BOX)[0]

    def test_a_gzipped_file(self, plain):
        stream = io.BytesIO(gzip.compress(plain, 1))
        assert plane_bits(read_region(stream, BOX)) == cut(exposure(), BOX)

    def test_files_without_an_archive_may_have_a_calibration_and_a_filter(self, shared):
        with (shared / "golden_fits" / "astropy_ok_plain.fits").open("rb") as stream:
            mean, error = read_component(stream, "photoCalib")
            assert mean == pytest.approx(63.69790434563162, rel=1e-15)  # afw's, of experiments.txt
            assert error == pytest.approx(0.27937677344575274, rel=1e-15)
            assert read_component(stream, "filter") == ("", "HSC-R")

    @pytest.mark.parametrize("name", exposure_names())
    def test_golden_files(self, shared, name):
        path = shared / "golden_fits" / name
        whole = read_exposure(path)
        (x0, y0), (ny, nx) = whole.origin, whole.shape
        for local in (Box(5, 7, 30, 11), Box(0, 0, nx, ny), Box(nx - 1, ny - 1, 1, 1)):
            box = Box(x0 + local.x0, y0 + local.y0, local.width, local.height)
            with path.open("rb") as stream:
                found = read_region(stream, box)
            assert plane_bits(found) == cut(whole, local)
            assert found.bbox == box
            assert repr((found.metadata, found.detector)) == repr((whole.metadata, whole.detector))


def test_the_whole_of_hsc_counts_few_bytes():
    """A row of a real-sized file, as from S3: 1 MB is left of 103."""
    expected = hsc_detector(22)
    planes = (
        np.zeros(expected.shape, np.float32),
        np.zeros(expected.shape, np.int32),
        np.ones(expected.shape, np.float32),
    )
    stream = Counting(encode_exposure(Exposure(*planes, expected, visit_info=VISIT_INFO)))
    found = read_region(stream, Box(1000, 2000, 100, 30))
    assert found.detector is expected
    assert stream.count < 2**20
    assert stream.requests < 15
    assert math.isclose(found.variance.sum(), 3000.0)
