"""Comparing FITS files byte for byte, but for the cards that say where things came from."""

from __future__ import annotations

import io
import re

from astropy.io import fits

PROVENANCE = re.compile(r"CHECKSUM|HSC ISR INPUT \w+|LSST BUTLER .*|LSST CALIB (RUN|UUID) \w+")
"""Cards in which the product of a repository may differ from that of files."""


def differing_cards(ours: bytes, theirs: bytes) -> set[str]:
    """Return the keywords of the primary header that differ; everything else must not.

    Headers of the extensions and all data units are compared as bytes.
    """
    with fits.open(io.BytesIO(ours)) as first, fits.open(io.BytesIO(theirs)) as second:
        names = [[hdu.name for hdu in hdus] for hdus in (first, second)]
        assert names[0] == names[1]
        for one, other in zip(first, second, strict=True):
            places = one.fileinfo(), other.fileinfo()
            data = [
                content[place["datLoc"] : place["datLoc"] + place["datSpan"]]
                for content, place in zip((ours, theirs), places, strict=True)
            ]
            assert data[0] == data[1], f"data of HDU {one.name} differ"
            if one is not first[0]:
                headers = [
                    content[place["hdrLoc"] : place["datLoc"]]
                    for content, place in zip((ours, theirs), places, strict=True)
                ]
                assert headers[0] == headers[1], f"header of HDU {one.name} differs"
        cards = [{card.keyword: str(card) for card in hdus[0].header.cards} for hdus in (first, second)]
    return {key for key in cards[0].keys() | cards[1].keys() if cards[0].get(key) != cards[1].get(key)}
