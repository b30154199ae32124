"""The pictures: panels, labels, binning, planes; and the same bytes every time."""

from __future__ import annotations

import io

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
    binned, block = _bin(image)
    assert (block, binned.shape) == (4, (PIXELS, 1))
    np.testing.assert_allclose(binned[3, 0], image[12:16, :4].mean())


def test_png_opens(reduced):
    from PIL import Image

    with Image.open(io.BytesIO(encode_png(draw_exposure(reduced)))) as picture:
        assert picture.size[0] > 600
