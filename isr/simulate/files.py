"""Simulated raw frames and their truth as FITS files."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt

from isr.exposure import RawFrame
from isr.fits.cards import Card, encode_hdu
from isr.fits.hdus import encode_image_hdu, encode_primary
from isr.simulate.frame import Truth

__all__ = ["encode_raw", "encode_truth"]

SCALING: list[Card] = [
    ("BUNIT", "ADU", "Unit of original pixel value"),
    ("BSCALE", 1, "Default scaling factor"),
    ("BZERO", 32768, "Offset data range to that of unsigned short"),
    ("BLANK", -32768, "Value used for NULL pixels"),
]


def encode_raw(raw: RawFrame, cards: Sequence[Card], *, compress: bool = False) -> bytes:
    """Encode a raw frame as the telescope's archive stores it.

    Pixels are stored unflipped, as unsigned 16-bit integers.

    Parameters
    ----------
    raw : `isr.exposure.RawFrame`
        The frame; its own header is not used.
    cards : `~collections.abc.Sequence` [`tuple` [`str`, `object`, `str`]]
        Keyword, value and comment of the cards to write.
    compress : `bool`
        Whether to compress with Rice's algorithm, one tile per row, as
        ``fpack`` does.

    Returns
    -------
    data : `bytes`
        The file, the same for the same input.
    """
    pixels = _unflip(raw.pixels, raw.detector.raw_flip)
    if compress:
        return _encode_rice(pixels, cards)
    ny, nx = pixels.shape
    mandatory: list[Card] = [
        ("SIMPLE", True, "conforms to FITS standard"),
        ("BITPIX", 16, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", nx, "length of data axis 1"),
        ("NAXIS2", ny, "length of data axis 2"),
    ]
    stored = (pixels ^ np.uint16(0x8000)).astype(">u2")  # minus BZERO, as signed integers
    return b"".join(encode_hdu([*mandatory, *SCALING, *cards], stored.tobytes()))


def _unflip(pixels: npt.NDArray[np.uint16], flip: str) -> npt.NDArray[np.uint16]:
    if flip == "LR":
        return pixels[:, ::-1]
    return pixels[::-1] if flip == "TB" else pixels


def _encode_rice(pixels: npt.NDArray[np.uint16], cards: Sequence[Card]) -> bytes:
    from astropy.io import fits

    tile = (1, pixels.shape[1])
    hdu = fits.CompImageHDU(np.ascontiguousarray(pixels), compression_type="RICE_1", tile_shape=tile)
    stream = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    # The table is encoded again because astropy's checksum cards hold the time of writing.
    stored = stream.getvalue()
    with fits.open(BytesIO(stored), disable_image_compression=True) as hdus:
        header = hdus[1].header
        start = hdus[1].fileinfo()["datLoc"]
        size = header["NAXIS1"] * header["NAXIS2"] + header["PCOUNT"]
        table: list[Card] = [(card.keyword, card.value, card.comment) for card in header.cards]
    known = {key for key, _, _ in table}
    table += [card for card in [*SCALING, *cards] if card[0] not in known]
    return b"".join([*encode_primary([]), *encode_hdu(table, stored[start : start + size])])


def encode_truth(truth: Truth) -> bytes:
    """Encode a truth: HDUs IMAGE, MASK, SKY (ADU) and OVERSCAN (ADU).

    The mask has the planes SAT, BAD (defects) and BLED; OVERSCAN has one row
    per amplifier and one column per row of the data. Numbers are cards of
    the primary header.

    Parameters
    ----------
    truth : `isr.simulate.Truth`
        The truth.

    Returns
    -------
    data : `bytes`
        The file, the same for the same input.
    """
    bits = {"BAD": 0, "SAT": 1, "BLED": 2}
    masks = {"BAD": truth.defects, "SAT": truth.saturated, "BLED": truth.bled}
    mask = np.zeros(truth.image.shape, np.int32)
    for name, bit in bits.items():
        mask |= masks[name].astype(np.int32) << bit
    numbers: list[Card] = [
        ("SIMULATE", True, "truth of a simulated raw frame"),
        ("SEED", truth.config.seed, "seed of the simulation"),
        ("GAINREF", truth.reference_gain, "electrons per ADU of IMAGE"),
        ("FRINGE", truth.fringe_amplitude, "amplitude of the fringe frame, ADU"),
        *[(f"PEDESTL{i}", float(p), "pedestal of amplifier, ADU") for i, p in enumerate(truth.amp_offsets)],
    ]
    levels = truth.overscan_levels.astype(np.float32)
    planes: list[Card] = [(f"MP_{name}", bit, "bit number") for name, bit in bits.items()]
    unit: Card = ("BUNIT", "adu", "")
    parts = [
        *encode_primary(numbers),
        *encode_image_hdu(truth.image, [("EXTNAME", "IMAGE", ""), unit]),
        *encode_image_hdu(mask, [("EXTNAME", "MASK", ""), *planes], compression="GZIP_2"),
        *encode_image_hdu(truth.sky, [("EXTNAME", "SKY", ""), unit]),
        *encode_image_hdu(levels, [("EXTNAME", "OVERSCAN", ""), unit]),
    ]
    return b"".join(parts)
