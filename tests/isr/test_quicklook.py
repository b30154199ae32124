"""The pictures: panels, labels, binning, planes; and the same bytes every time."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from isr.quicklook import PIXELS, draw_exposure, draw_quicklook, encode_png
from tests.builders import exposure, four_amplifiers, raw_frame


@pytest.fixture
def reduced():
    made = exposure(four_amplifiers())
    made.mask[2:4, 3:9] |= made.planes.bitmask("SAT")
    made.image[0, 0] = np.nan
    return made


def test_panels_have_titles_and_units(reduced):
    figure = draw_quicklook(raw_frame(four_amplifiers()), reduced)
    titles = [axes.get_title() for axes in figure.axes]
    assert [any(word in title for title in titles) for word in ("raw", "postISRCCD", "mask")] == [True] * 3
    bars = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel() == "adu"]
    assert len(bars) == 2
    assert figure.get_suptitle().startswith("TEST visit 4242, detector 3")


def test_legend_counts_the_pixels_of_each_plane(reduced):
    figure = draw_exposure(reduced)
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    assert [text.get_text() for text in legends[0].get_texts()] == ["SAT: 12"]


def test_title_tells_sky_and_noise(reduced):
    reduced.image[...] = np.tile([90.0, 100.0, 110.0], reduced.image.size // 3).reshape(reduced.shape)
    reduced.variance[...] = 100.0
    title = draw_exposure(reduced).get_suptitle().splitlines()
    assert title[0].startswith("TEST visit 4242, detector 3 (0_03), HSC-R, 30 s, 2020-02-03T04:05:06.789")
    assert title[1] == "sky 100.00 adu, scatter 14.83 adu, 1.483 of the expected"
    reduced.mask[...] = reduced.planes.bitmask("NO_DATA")
    assert draw_exposure(reduced).get_suptitle().splitlines()[1] == "no sky: every pixel is masked"


@pytest.mark.parametrize(("shape", "panel"), [((4176, 2048), (696, 341)), ((2048, 4176), (341, 696))])
def test_pixels_of_panels_are_whole_blocks(shape, panel):
    from isr.quicklook import _size

    assert _size(shape, 700) == panel
    assert _size((20, 24), 700) == (580, 696)
    assert _size((2000, 1), 700) == (666, 1)


def test_size_of_the_picture(reduced):
    small, big = (draw_exposure(reduced, pixels).get_size_inches() for pixels in (100, 1000))
    assert all(big > small)


def test_pyplot_knows_nothing_of_it(reduced):
    from matplotlib import pyplot

    encode_png(draw_exposure(reduced))
    assert pyplot.get_fignums() == []


def test_exposure_shows_itself(reduced):
    assert len(reduced.show().axes) >= 2


def test_all_nan_image_is_drawn(reduced):
    reduced.image[...] = np.nan
    reduced.mask[...] = 0
    assert encode_png(draw_exposure(reduced))[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_same_picture_has_the_same_bytes(reduced):
    assert encode_png(draw_exposure(reduced)) == encode_png(draw_exposure(reduced))


def test_big_images_are_averaged_in_blocks():
    from isr.quicklook import _bin

    image = np.arange(4.0 * PIXELS * 6, dtype=np.float32).reshape(4 * PIXELS, 6)
    binned = _bin(image, PIXELS)
    assert binned.shape == (PIXELS, 1)
    np.testing.assert_allclose(binned[3, 0], image[12:16, :4].mean())


def test_bits_of_blocks_are_joined():
    from isr.quicklook import _reduce

    mask = np.zeros((4 * PIXELS + 3, 10), np.int32)
    mask[5, 1], mask[6, 3], mask[9, 8] = 1, 4, 2
    blocks = _reduce(np.bitwise_or, mask, PIXELS)
    assert blocks.shape == (len(mask) // 5, 2)
    assert blocks[1].tolist() == [5, 2]
    assert np.count_nonzero(blocks) == 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 2000), (2000, 1)])
def test_images_of_one_row_are_drawn(shape):
    made = exposure()
    planes = {name: np.resize(getattr(made, name), shape) for name in ("image", "mask", "variance")}
    encode_png(draw_exposure(replace(made, **planes)))


def test_block_with_a_nan_is_nan():
    from isr.quicklook import _bin

    image = np.ones((2 * PIXELS, 4), np.float32)
    image[3, 3] = np.nan
    binned = _bin(image, PIXELS)
    assert np.isnan(binned[1, 1])
    assert np.isnan(binned).sum() == 1


def test_png_opens(reduced):
    from PIL import Image

    with Image.open(io.BytesIO(encode_png(draw_exposure(reduced)))) as picture:
        assert picture.size[0] > 600
