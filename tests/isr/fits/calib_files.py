"""Changed and compared files of calibrations."""

from __future__ import annotations

import io

from astropy.io import fits


def sample(shared, name):
    return shared / "golden_fits" / f"ipisr_{name}"


def file_of(hdus):
    """Content of a file of HDUs that have been changed: without the checksums of before."""
    stream = io.BytesIO()
    for hdu in hdus:
        for key in ("CHECKSUM", "DATASUM"):
            hdu.header.remove(key, ignore_missing=True)
    fits.HDUList(hdus).writeto(stream)
    return stream.getvalue()


def changed(data, drop=(), **cards):
    """The file with other cards in HDU 1, or without columns of its table."""
    with fits.open(io.BytesIO(data)) as hdus:
        table = hdus[1]
        if drop:
            columns = [column for column in table.columns if column.name not in drop]
            kept = {
                k: v for k, v in table.header.items() if k[:5] in ("OBSTY", "HAS_L", "HAS_C", "HAS_T", "NAMP")
            }
            table = fits.BinTableHDU.from_columns(columns)
            table.header.update(kept)
        table.header.update(cards)
        return file_of([hdus[0], table, *hdus[2:]])


def assert_same_layout(ours, theirs):
    """Columns, formats, dimensions, and the cards that ip_isr writes and reads."""
    not_ours = {
        "INSTRUME",
        "RAFTNAME",
        "SLOTNAME",
        "DET_SER",
        "FILTER",
        "CALIB_ID",
    }  # of no use to its readers
    not_ours |= {"SEQFILE", "SEQNAME", "SEQCKSUM", "DETECTOR_SERIAL"}
    with fits.open(ours, checksum=True) as ours, fits.open(theirs) as theirs:
        assert len(ours) == len(theirs)
        for our, their in zip(ours[1:], theirs[1:], strict=True):
            ours_columns = [(c.name, c.format, c.dim) for c in our.columns]
            assert ours_columns == [(c.name, c.format, c.dim) for c in their.columns]
            missing = {key for key in their.header if key not in our.header and key != "CONTINUE"}
            assert missing <= not_ours
            for key in set(their.header) - not_ours - {"CONTINUE", "EXTEND"}:
                if key in our.header:
                    assert our.header[key] == their.header[key], key
                    assert type(our.header[key]) is type(their.header[key]), key
