"""Pixels and masks to lossless PNG, the fast exact way, and masks back.

Every row of a release holds its picture and its masks as PNG, because that is what Pillow, `datasets` and
the viewer open without asking. PNG leaves the writer two choices, the row filter and the deflate; Pillow's
defaults spend most of a build on them. Here the filter is one vectorised subtraction, the deflate ISA-L's.

Source of the format: W3C PNG Specification, third edition (https://www.w3.org/TR/png-3/; ISO/IEC 15948:2004
is its second). Section numbers in the comments are the third's.

**Why**

- *One filter, "up", for every row of pixels.* Under this deflate, Pillow's choice among five filters row by
  row made five of the six pictures of `benchmarks/codecs.py` 1 to 7 % smaller and one 3 % larger: not worth
  trying every row five times. "up" beat "sub" on all six, and no filter on five. Masks keep filter 0.
- *The bytes depend on the isal version, the pixels never do.* One version gives the same bytes in every call
  and every process: ISA-L's stateless deflate is deterministic, and no time or text chunk is written. Another
  version may choose other matches, hence another hash of a shard: that is why isal is pinned in
  `constraints.txt`.
- *Level 1, not 3.* Level 3 gives different bytes on SSE4.2, AVX2 and AVX-512 processors; levels 0 to 2 gave
  the same on all three (isal 1.9.1, native and emulated). Older processors and ARM are untested.
- *Negative result: Pillow alone does not read masks here.* Where the compressed rows end early it fills the
  rest with zeros and says nothing, and it skips the CRC of IDAT. A mask whose lower half is silently empty is
  a wrong ROI, so `decode_mask` checks the file itself, and that is faster too. Pillow still undoes the row
  filters, which it writes itself when `datasets` saves a mask again and which are not worth a second copy.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2  # colour types, 11.2.1
_NONE, _UP, _PAETH = 0, 2, 4  # filter types, of which Paeth is the last, 9.2
_LEVEL = 1  # ISA-L's first to fit Huffman codes to the data; same on every x86-64 tried (Why)
_MAX_SCANLINE_BYTES = 2**30  # one IDAT holds 2^31 - 1 bytes (5.3): half of it leaves room for any overhead


def encode_image(pixels: NDArray[np.uint8]) -> bytes:
    """Return `pixels` as a lossless 8-bit PNG.

    `pixels` is uint8, (H, W) grey or (H, W, 3) RGB, in any memory layout, H and W at least 1. The file
    holds IHDR, one IDAT and IEND only. Raises ValueError on another dtype or shape, or over 1 GiB of rows.
    """
    if pixels.dtype != np.uint8:
        hint = "use encode_mask" if pixels.dtype == np.bool_ else "window to 0-255 and cast to uint8 first"
        raise ValueError(f"encode_image: pixels are {pixels.dtype}, not uint8; {hint}")
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"encode_image: pixels have shape {pixels.shape}, not (H, W) or (H, W, 3); "
            "pass one picture, channels last, without alpha"
        )
    height, width = pixels.shape[:2]
    rows = _scanlines("encode_image", pixels.shape, width * (pixels.shape[2] if pixels.ndim == 3 else 1))
    flat = pixels.reshape(height, -1)
    rows[:, 0] = _UP
    rows[0, 1:] = flat[0]  # the row above the first is all zeros, 9.2
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])  # uint8 wraps round, as the filter asks
    return _png(width, height, 8, _GREY if pixels.ndim == 2 else _RGB, rows)


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return `mask` as a 1-bit greyscale PNG, True as white.

    `mask` is bool, (H, W), in any memory layout, H and W at least 1. The bits that pad a row to whole bytes
    are zero. Raises ValueError on another dtype or shape, or over 1 GiB of rows.
    """
    if mask.dtype != np.bool_:
        raise ValueError(f"encode_mask: mask is {mask.dtype}, not bool; compare first, as in `mask > 0`")
    if mask.ndim != 2:
        raise ValueError(f"encode_mask: mask has shape {mask.shape}, not (H, W); pass one mask at a time")
    height, width = mask.shape
    rows = _scanlines("encode_mask", mask.shape, (width + 7) // 8)
    rows[:, 0] = _NONE
    rows[:, 1:] = np.packbits(mask, axis=1)
    return _png(width, height, 1, _GREY, rows)


def decode_mask(data: bytes) -> NDArray[np.bool_]:
    """Return the mask in `data`, a 1-bit greyscale PNG, as a fresh (H, W) bool array, white as True.

    Strict, so that half a mask never comes back: bit depth 1, not interlaced, every CRC and the Adler-32
    right, exactly the rows that the header promises, nothing after IEND. Raises ValueError otherwise.
    """
    header, packed = _chunks(data)
    width, height, *form = struct.unpack(">IIBBBBB", header)
    if form != [1, _GREY, 0, 0, 0] or not width or not height:
        raise ValueError(
            f"decode_mask: a {width}x{height} PNG of depth, colour, compression, filter, interlace {form} is "
            "no 1-bit greyscale mask; open it with Pillow, compare, and write it with encode_mask"
        )
    stride = (width + 7) // 8 + 1
    inflate = zlib.decompressobj()
    try:  # one byte more than promised shows a surplus, and stops a bomb there
        raw = inflate.decompress(packed, stride * height + 1)
    except zlib.error as error:
        raise ValueError(f"decode_mask: damaged compressed rows ({error}); fetch the file again") from error
    if len(raw) != stride * height or not inflate.eof or inflate.unused_data:
        raise ValueError(
            f"decode_mask: a {width}x{height} mask is {stride * height} bytes of rows, the file holds "
            f"{len(raw) if len(raw) < stride * height else 'more'}; fetch it again or write it again"
        )
    rows = np.frombuffer(raw, np.uint8).reshape(height, stride)
    if (last := int(rows[:, 0].max())) > _PAETH:
        raise ValueError(f"decode_mask: a row has filter type {last}, PNG knows 0 to 4; write the mask again")
    if last:
        return np.array(Image.frombytes("1", (width, height), packed, "zip", "1", 0))
    return np.unpackbits(rows[:, 1:], axis=1, count=width).view(np.bool_)


def _scanlines(where: str, shape: tuple[int, ...], row_bytes: int) -> NDArray[np.uint8]:
    """Return an empty (H, 1 + row_bytes) uint8 buffer: the filter type of each row, then its bytes (7.2)."""
    if 0 in shape:
        raise ValueError(f"{where}: shape {shape} has no pixels; reject the sample before encoding")
    if shape[0] * (row_bytes + 1) > _MAX_SCANLINE_BYTES:
        raise ValueError(f"{where}: shape {shape} is over 1 GiB of rows; tile or downsample it first")
    return np.empty((shape[0], row_bytes + 1), np.uint8)


def _png(width: int, height: int, depth: int, colour: int, rows: NDArray[np.uint8]) -> bytes:
    """Return the whole file around filtered `rows`: signature, IHDR, one IDAT, IEND."""
    # the three zeros: deflate, a filter type before each row, not interlaced (11.2.1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = isal_zlib.compress(rows, _LEVEL)
    return b"".join((_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", body), *_chunk(b"IEND", b"")))


def _chunk(kind: bytes, body: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a chunk in parts, to be joined once: length and type, body, CRC-32 over type and body (5.3)."""
    return len(body).to_bytes(4, "big") + kind, body, zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    """Return the body of IHDR and the joined bodies of IDAT, every chunk up to IEND checked."""
    if data[:8] != _SIGNATURE:
        raise ValueError("decode_mask: the data lack the PNG signature; pass the bytes of a PNG file")
    header, packed, at, kind = b"", [], 8, b""
    while kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        if end > len(data):
            raise ValueError(f"decode_mask: the PNG is cut off in the chunk at byte {at}; fetch it again")
        kind, body = data[at + 4 : at + 8], data[at + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"decode_mask: wrong CRC in chunk {kind!r} at byte {at}; fetch the file again")
        if at == 8 and kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed.append(body)
        at = end
    if len(header) != 13 or at != len(data):
        raise ValueError(
            f"decode_mask: the PNG has {len(header)} of the 13 bytes of IHDR and {len(data) - at} bytes "
            "after IEND; write the mask again with encode_mask"
        )
    return header, b"".join(packed)
