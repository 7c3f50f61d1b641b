"""Windows bitmaps (`.bmp`) as scanners and older annotation tools write them: uncompressed, 1, 4, 8, 24 or 32 bits.

Source: Microsoft, "Bitmap Storage" (BITMAPFILEHEADER, BITMAPCOREHEADER, BITMAPINFOHEADER to BITMAPV5HEADER).

**Why** by hand and not by Pillow: 13.0 takes an 8-bit bitmap with the two colors black and white for a 1-bit one, so
that a mask comes out empty without a word, and a 4-bit one with a gray ramp for an 8-bit one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError

_CORE = 12  # bytes of the header of OS/2, which has 16-bit sides and three bytes a color
_MASKS = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)  # red, green and blue where 32-bit pixels have them without masks


@dataclass(frozen=True)
class Bitmap:
    """What a bitmap's header says: bits a pixel, first byte and bytes of its rows, the lowest one first or last."""

    width: int
    height: int
    bits: int
    offset: int
    stride: int
    upwards: bool
    palette: NDArray[np.uint8]
    """(colors, 3) RGB; none above 8 bits."""

    def indices(self, data: bytes) -> NDArray[np.uint8]:
        """Return the numbers of the colors, (H, W), of a bitmap of 8 bits or fewer; IndexError for one it lacks."""
        numbers = self._rows(data)
        if self.bits < 8:
            bits = np.unpackbits(numbers, axis=1).reshape(self.height, -1, self.bits)
            numbers = np.packbits(bits, axis=2)[:, :, 0] >> np.uint8(8 - self.bits)
        numbers = np.ascontiguousarray(numbers[:, : self.width])
        if int(numbers.max()) >= len(self.palette):
            raise IndexError(f"color {numbers.max()} of {len(self.palette)}")
        return numbers

    def colors(self, data: bytes) -> NDArray[np.uint8]:
        """Return RGB (H, W, 3), or gray (H, W) where all colors of the palette are gray."""
        if self.bits > 8:
            pixels = self._rows(data)[:, : self.width * self.bits // 8].reshape(self.height, self.width, -1)
            return np.ascontiguousarray(pixels[:, :, 2::-1])
        gray = bool((self.palette == self.palette[:, :1]).all())
        return (self.palette[:, 0] if gray else self.palette)[self.indices(data)]

    def _rows(self, data: bytes) -> NDArray[np.uint8]:
        rows = np.frombuffer(data, np.uint8, self.stride * self.height, self.offset).reshape(self.height, self.stride)
        return rows[::-1] if self.upwards else rows


def read_bitmap(data: bytes, path: str) -> Bitmap:
    """Return the header of a bitmap whose pixels all lie within the file.

    Raises:
        RefusedError: `raster.unsupported`, `raster.corrupt`, `raster.truncated`.
        struct.error: the file ends within the header.
    """
    offset, size = struct.unpack_from("<II", data, 10)
    if size == _CORE:
        (width, height, planes, bits), compression, used = struct.unpack_from("<HHHH", data, 18), 0, 0
    else:
        width, height, planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        used = struct.unpack_from("<I", data, 46)[0]
    masks = data[54:66] if compression == 3 else _MASKS
    if bits not in (1, 4, 8, 24, 32) or compression not in (0, 3) or (compression == 3 and bits != 32):
        why = f"{path}: a bitmap of {bits} bits with compression {compression}; save it as PNG"
        raise RefusedError("raster.unsupported", why)
    if masks != _MASKS:
        raise RefusedError("raster.unsupported", f"{path}: a bitmap with other color masks than BGR; save it as PNG")
    start = 14 + size + (12 if compression == 3 and size == 40 else 0)
    if planes != 1 or width < 1 or height == 0 or offset < start:
        what = f"{width} x {height} pixels in {planes} planes at byte {offset}"
        raise RefusedError("raster.corrupt", f"{path}: {what} is no bitmap")
    stride, rows = (width * bits + 31) // 32 * 4, abs(height)
    if offset + stride * rows > len(data):
        why = f"{path} has {len(data):,} of the {offset + stride * rows:,} bytes its header promises"
        raise RefusedError("raster.truncated", f"{why}; fetch the file again")
    palette = _palette(data[start:offset], bits, used, 3 if size == _CORE else 4)
    return Bitmap(width, rows, bits, offset, stride, height > 0, palette)


def _palette(data: bytes, bits: int, used: int, entry: int) -> NDArray[np.uint8]:
    """Return the colors as RGB; what a header promises and has no room for is not there."""
    if bits > 8:
        return np.zeros((0, 3), np.uint8)
    count = min(used or 1 << bits, 1 << bits, len(data) // entry)
    return np.frombuffer(data, np.uint8, count * entry).reshape(count, entry)[:, 2::-1].copy()
