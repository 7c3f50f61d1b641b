"""Windows bitmaps: every depth comes out exact, masks keep their numbers, a lying header is refused."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.raster import RasterFile
from medtrinity25m.readers.safe import sniff
from medtrinity25m.release.png import encode_image

RNG = np.random.default_rng(0)
BLACK_WHITE = bytes((0, 0, 0, 0, 255, 255, 255, 0))
RAMP = b"".join(bytes((level, level, level, 0)) for level in range(256))
COLORS = bytes((0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0))  # red, green, blue as BGR and a byte that is nothing


def bmp(
    rows: bytes, width: int, height: int, bits: int, palette: bytes = b"", compression: int = 0, **other: int
) -> bytes:
    """A bitmap around rows of pixels, lowest row first unless `height` is negative."""
    offset = other.get("offset", 54 + len(palette))
    used = other.get("used", len(palette) // 4)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, other.get("planes", 1), bits, compression, 0, 0, 0, used, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + info + palette + rows


def opened(data: bytes) -> RasterFile:
    """A bitmap, its kind found as the jail finds it."""
    assert sniff(data) == "bmp"
    return RasterFile(data, "x.bmp", "bmp")


def code_of(data: bytes) -> str | None:
    """The code a bitmap is refused with, opened, shown or read as a mask."""
    try:
        file = RasterFile(data, "x.bmp", "bmp")
        file.plane()
        file.labels()
    except RefusedError as error:
        return error.code if "x.bmp" in error.detail else "no file is named"
    return None


def pillow(array: NDArray[Any], mode: str | None = None) -> bytes:
    """What Pillow writes for an array."""
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(buffer, "BMP")
    return buffer.getvalue()


@pytest.mark.parametrize("width", range(1, 18))
def test_what_others_write_comes_out_exact(width: int) -> None:
    """Gray, RGB and 1-bit pictures of any width, so of any padding, are the arrays they were written from."""
    gray = RNG.integers(0, 256, (5, width)).astype(np.uint8)
    rgb = RNG.integers(0, 256, (5, width, 3)).astype(np.uint8)
    for array, mode in ((gray, None), (rgb, None), (rgb, "RGBA"), (gray > 99, "1")):
        file = opened(pillow(array, mode))
        plane = file.plane()
        shown = array * np.uint8(255) if array.dtype == np.bool_ else array
        np.testing.assert_array_equal(plane.pixels, shown)
        assert (plane.encoded, plane.window, plane.orientation, file.orientation(), file.count) == (None, None, 1, 1, 1)
        assert len(encode_image(plane.pixels)) <= file.cost(0)
        assert not file.lossy


def test_rows_may_go_down() -> None:
    """A negative height puts the highest row first."""
    rows = bytes(range(4)) + bytes(range(10, 14))
    np.testing.assert_array_equal(opened(bmp(rows, 4, -2, 8, RAMP)).plane().pixels, [[0, 1, 2, 3], [10, 11, 12, 13]])
    np.testing.assert_array_equal(opened(bmp(rows, 4, 2, 8, RAMP)).plane().pixels, [[10, 11, 12, 13], [0, 1, 2, 3]])


@pytest.mark.parametrize(("data", "picture", "mask"), [
    (bmp(bytes((0, 1, 1, 0)), 4, 1, 8, BLACK_WHITE), [[0, 255, 255, 0]], [[0, 1, 1, 0]]),
    (bmp(bytes((0, 1, 1, 0)), 4, 1, 8, BLACK_WHITE[4:] + BLACK_WHITE[:4]), [[255, 0, 0, 255]], [[0, 1, 1, 0]]),
    (bmp(bytes((7, 9, 200, 0)), 4, 1, 8, RAMP), [[7, 9, 200, 0]], [[7, 9, 200, 0]]),
    (bmp(bytes((0x01, 0x2F, 0, 0)), 4, 1, 4, RAMP[:64]), [[0, 1, 2, 15]], [[0, 1, 2, 15]]),
    (bmp(bytes((0x60, 0, 0, 0)), 4, 1, 1, BLACK_WHITE), [[0, 255, 255, 0]], [[0, 1, 1, 0]]),
    (bmp(bytes((0, 2, 1, 0)), 3, 1, 8, COLORS), [[[255, 0, 0], [0, 0, 255], [0, 255, 0]]], [[0, 2, 1]]),
    (bmp(bytes((5, 5, 5, 0)), 1, 1, 24), [[[5, 5, 5]]], [[5]]),
    (bmp(bytes((5, 5, 5, 99)), 1, 1, 32), [[[5, 5, 5]]], [[5]]),
    (bmp(bytes((3, 2, 1, 99)), 1, 1, 32, struct.pack("<III", 0xFF0000, 0xFF00, 0xFF), 3, used=0), [[[1, 2, 3]]], None),
])  # fmt: skip
def test_palettes(data: bytes, picture: Any, mask: Any) -> None:
    """A gray palette shows gray, another one colors; a mask is the numbers of the colors, as in PNG."""
    np.testing.assert_array_equal(opened(data).plane().pixels, picture)
    if mask is not None:
        labels = opened(data).labels()
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(labels, mask)


def test_the_header_of_os2() -> None:
    """The oldest header, with 16-bit sides and three bytes a color, is read."""
    info = struct.pack("<IHHHH", 12, 4, 1, 1, 8)
    palette = b"".join(bytes((level, level, level)) for level in range(256))
    offset = 14 + len(info) + len(palette)
    data = b"BM" + struct.pack("<IHHI", offset + 4, 0, 0, offset) + info + palette + bytes((9, 8, 7, 6))
    np.testing.assert_array_equal(opened(data).plane().pixels, [[9, 8, 7, 6]])


def test_colors_are_no_mask() -> None:
    """A 24-bit bitmap with different channels is not turned into labels."""
    with pytest.raises(RefusedError) as caught:
        opened(bmp(bytes((1, 2, 3, 0)), 1, 1, 24)).labels()
    assert caught.value.code == "raster.mask_colour"


@pytest.mark.parametrize(("data", "code"), [
    (bmp(bytes(4), 4, 2, 8, RAMP), "raster.truncated"),
    (bmp(bytes(7), 4, 2, 8, RAMP), "raster.truncated"),
    (bmp(bytes(8), 4, -3, 8, RAMP), "raster.truncated"),
    (bmp(bytes(8), 40000, 2**31 - 1, 8, RAMP), "raster.truncated"),
    (bmp(bytes(8), 4, -(2**31), 8, RAMP), "raster.truncated"),
    (bmp(bytes(8), -4, 2, 8, RAMP), "raster.corrupt"),
    (bmp(bytes(8), 0, 2, 8, RAMP), "raster.corrupt"),
    (bmp(bytes(8), 4, 0, 8, RAMP), "raster.corrupt"),
    (bmp(bytes(8), 4, 2, 8, RAMP, planes=2), "raster.corrupt"),
    (bmp(bytes(8), 4, 2, 8, RAMP, offset=20), "raster.corrupt"),
    (bmp(bytes(8), 4, 2, 8, RAMP, offset=2**32 - 99), "raster.truncated"),
    (bmp(bytes((9,) * 8), 4, 2, 8, COLORS), "raster.corrupt"),
    (bmp(bytes(8), 4, 2, 8, b""), "raster.corrupt"),
    (bmp(bytes(8), 4, 2, 8, RAMP, compression=1), "raster.unsupported"),
    (bmp(bytes(8), 4, 2, 4, RAMP, compression=2), "raster.unsupported"),
    (bmp(bytes(16), 4, 2, 16), "raster.unsupported"),
    (bmp(bytes(16), 4, 2, 7, RAMP), "raster.unsupported"),
    (bmp(bytes(16), 2, 2, 32, struct.pack("<III", 0xFF, 0xFF00, 0xFF0000), compression=3), "raster.unsupported"),
])  # fmt: skip
def test_bitmaps_that_lie(data: bytes, code: str) -> None:
    """Sizes the bytes cannot hold, no size, missing colors and compressed pixels are refused."""
    assert code_of(data) == code


def test_a_file_of_the_promised_size_may_still_be_too_large() -> None:
    """1-bit pixels are weighed as what they become."""
    side = 12000
    assert code_of(bmp(bytes(1500 * side), side, side, 1, BLACK_WHITE)) == "raster.too_large"
