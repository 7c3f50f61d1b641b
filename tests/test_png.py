"""PNG bytes that any reader opens to exactly the pixels that went in."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from medtrinity25m.release.png import decode_mask, encode_image, encode_mask

SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def pictures(*channels: int) -> st.SearchStrategy[NDArray[np.uint8]]:
    """Any uint8 picture of up to 70 x 70, with the trailing channel axis if one is named."""
    return SIZES.flatmap(lambda size: arrays(np.uint8, (*size, *channels)))


MASKS = SIZES.flatmap(lambda size: arrays(np.bool_, size))
ANY = st.one_of(
    pictures().map(lambda a: (a, encode_image(a), a.shape[1])),
    pictures(3).map(lambda a: (a, encode_image(a), a.shape[1] * 3)),
    MASKS.map(lambda a: (a, encode_mask(a), -(-a.shape[1] // 8))),
)


def read(data: bytes) -> tuple[str, NDArray[Any]]:
    """The mode and pixels that Pillow finds, in a file that must be a PNG."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return image.mode, np.asarray(image)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk, written independently of the module under test."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def one_bit(rows: bytes, width: int = 8, height: int = 4, form: tuple[int, ...] = (1, 0, 0, 0, 0)) -> bytes:
    """A hand-made PNG around raw `rows`, for the damage that encode_mask cannot write."""
    header = struct.pack(">II5B", width, height, *form)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def parts(data: bytes) -> list[tuple[bytes, bytes]]:
    """The (type, body) of every chunk, in order, found by walking the lengths."""
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


@given(pictures())
def test_grey_comes_back_exact(pixels: NDArray[np.uint8]) -> None:
    """A grey picture of any size reads back in Pillow as mode L with the same pixels."""
    mode, back = read(encode_image(pixels))
    assert mode == "L"
    np.testing.assert_array_equal(back, pixels)


@given(pictures(3))
def test_rgb_comes_back_exact(pixels: NDArray[np.uint8]) -> None:
    """An RGB picture of any size reads back in Pillow as mode RGB with the same pixels."""
    mode, back = read(encode_image(pixels))
    assert mode == "RGB"
    np.testing.assert_array_equal(back, pixels)


@given(MASKS)
@example(np.ones((1, 1), np.bool_))
@example(np.ones((70, 65), np.bool_))
def test_mask_comes_back_exact(mask: NDArray[np.bool_]) -> None:
    """A mask of any width, whole bytes or not, is mode 1 to Pillow and comes back exact from decode_mask."""
    data = encode_mask(mask)
    mode, back = read(data)
    assert mode == "1"
    np.testing.assert_array_equal(back, mask)
    own = decode_mask(data)
    assert own.dtype == np.bool_
    assert own.flags.writeable
    assert own.flags.c_contiguous
    np.testing.assert_array_equal(own, mask)


@given(MASKS)
def test_masks_of_pillow_are_read(mask: NDArray[np.bool_]) -> None:
    """A mask that Pillow, and so `datasets`, saved again as 1-bit PNG is read like our own."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    np.testing.assert_array_equal(decode_mask(buffer.getvalue()), mask)


@given(ANY)
def test_the_file_is_strictly_a_png(case: tuple[NDArray[Any], bytes, int]) -> None:
    """The file passes Pillow's CRC check, has three chunks, and holds one filter byte and stride a row."""
    array, data, stride = case
    Image.open(io.BytesIO(data)).verify()
    found = parts(data)
    assert data.startswith(SIGNATURE)
    assert [kind for kind, _ in found] == [b"IHDR", b"IDAT", b"IEND"]
    rows = zlib.decompress(found[1][1])
    assert len(rows) == (stride + 1) * array.shape[0]
    assert set(rows[:: stride + 1]) == {0 if array.dtype == np.bool_ else 2}


@given(ANY, st.integers(1, 5))
def test_the_same_pixels_give_the_same_bytes(case: tuple[NDArray[Any], bytes, int], pad: int) -> None:
    """Bytes depend on the pixels alone, not on memory layout, writability, or an earlier call."""
    array, data, _ = case
    encode = encode_mask if array.dtype == np.bool_ else encode_image
    wider = np.pad(array, [(pad, pad), (pad, pad), *[(0, 0)] * (array.ndim - 2)])[pad:-pad, pad:-pad]
    frozen = array.copy()
    frozen.flags.writeable = False
    for same in (wider, np.asfortranarray(array), frozen, array[::-1][::-1]):
        assert encode(same) == data


def test_another_process_gives_the_same_bytes() -> None:
    """A worker started afresh, with another hash seed, writes byte for byte what this process writes."""
    script = (
        "import hashlib, numpy as np\n"
        "from medtrinity25m.release.png import encode_image, encode_mask\n"
        "pixels = np.random.default_rng(0).integers(0, 40, (301, 203, 3)).astype(np.uint8)\n"
        "print(hashlib.sha256(encode_image(pixels) + encode_mask(pixels[..., 0] > 20)).hexdigest())\n"
    )
    pixels = np.random.default_rng(0).integers(0, 40, (301, 203, 3)).astype(np.uint8)
    here = hashlib.sha256(encode_image(pixels) + encode_mask(pixels[..., 0] > 20)).hexdigest()
    command = [sys.executable, "-c", "import sys; sys.path[:0] = " + repr(sys.path) + "\n" + script]
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == here


def test_big_noise_survives() -> None:
    """A picture that does not compress, larger than any window or block of deflate, comes back exact."""
    pixels = np.random.default_rng(1).integers(0, 256, (700, 900, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read(encode_image(pixels))[1], pixels)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4), np.float32), "float32, not uint8; window"),
        (np.zeros((4, 4), np.uint16), "uint16, not uint8; window"),
        (np.zeros((4, 4), np.bool_), "bool, not uint8; use encode_mask"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((4, 4, 1), np.uint8), r"shape \(4, 4, 1\)"),
        (np.zeros((4, 4, 4), np.uint8), "without alpha"),
        (np.zeros((2, 4, 4, 3), np.uint8), "one picture"),
        (np.zeros((0, 4), np.uint8), "no pixels; reject"),
        (np.zeros((4, 0, 3), np.uint8), "no pixels; reject"),
        (np.broadcast_to(np.uint8(0), (2**15, 2**15)), "over 1 GiB of rows; tile"),
    ],
)
def test_encode_image_refuses(pixels: NDArray[Any], message: str) -> None:
    """What is not one 8-bit grey or RGB picture is refused with its dtype or shape and the next step."""
    with pytest.raises(ValueError, match=rf"encode_image: .*{message}"):
        encode_image(pixels)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((4, 4), np.uint8), "uint8, not bool; compare"),
        (np.zeros((4, 4, 3), np.bool_), r"shape \(4, 4, 3\)"),
        (np.zeros((0, 4), np.bool_), "no pixels; reject"),
        (np.zeros((4, 0), np.bool_), "no pixels; reject"),
        (np.broadcast_to(np.True_, (2**17, 2**16)), "over 1 GiB of rows; tile"),
    ],
)
def test_encode_mask_refuses(mask: NDArray[Any], message: str) -> None:
    """What is not one boolean mask is refused with its dtype or shape and the next step."""
    with pytest.raises(ValueError, match=rf"encode_mask: .*{message}"):
        encode_mask(mask)


ROWS = b"\x00\xff" * 4  # 8 x 4, all True
GOOD = one_bit(ROWS)


def test_the_handmade_mask_is_good() -> None:
    """The file that the damage below starts from is read, so each refusal is for its own damage."""
    assert decode_mask(GOOD).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "signature"),
        (b"\xff\xd8\xff\xe0 a jpeg", "signature"),
        (SIGNATURE, "cut off in the chunk at byte 8"),
        (GOOD[:40], "cut off in the chunk at byte 33"),
        (GOOD[:-12], "cut off"),
        (GOOD[:-1], "cut off"),
        (GOOD + b"x", "1 bytes after IEND"),
        (GOOD.replace(b"IDAT", b"IDAX"), "wrong CRC"),
        (SIGNATURE + GOOD[33:], "0 of the 13 bytes"),
        (SIGNATURE + chunk(b"IHDR", b"") + GOOD[33:], "0 of the 13 bytes"),
        (SIGNATURE + GOOD[8:33] + chunk(b"IDAT", b"\0" * 9) + chunk(b"IEND", b""), "damaged compressed rows"),
        (GOOD[:33] + GOOD[-12:], "holds 0;"),
        (one_bit(ROWS[:6]), "is 8 bytes of rows, the file holds 6;"),
        (one_bit(ROWS + ROWS), "holds more;"),
        (one_bit(ROWS, height=2**31 - 1), "holds 8;"),
        (one_bit(b"\x00\xff" * 3 + b"\x05\xff"), "filter type 5"),
        (one_bit(b"", width=0), "0x4 PNG"),
        (one_bit(b"", height=0), "8x0 PNG"),
        (one_bit(ROWS, form=(1, 0, 0, 0, 1)), "no 1-bit greyscale"),
        (one_bit(ROWS, form=(1, 3, 0, 0, 0)), "no 1-bit greyscale"),
        (encode_image(np.zeros((4, 4), np.uint8)), "no 1-bit greyscale"),
    ],
)
def test_decode_mask_refuses(data: bytes, message: str) -> None:
    """A file that is not a whole, undamaged 1-bit mask is refused by name, never read in part."""
    with pytest.raises(ValueError, match=f"decode_mask: .*{message}"):
        decode_mask(data)


def test_a_wrong_adler_is_refused() -> None:
    """Rows whose Adler-32 is wrong are refused even where the chunk's own CRC agrees."""
    packed = bytearray(zlib.compress(ROWS))
    packed[-1] ^= 1
    with pytest.raises(ValueError, match="damaged compressed rows"):
        decode_mask(GOOD[:33] + chunk(b"IDAT", bytes(packed)) + GOOD[-12:])


def test_rows_split_over_chunks_are_joined() -> None:
    """Rows spread over several IDAT chunks, with a text chunk before them, are still one mask."""
    packed = zlib.compress(ROWS)
    body = chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", packed[:3]) + chunk(b"IDAT", packed[3:])
    assert decode_mask(GOOD[:33] + body + GOOD[-12:]).all()


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_every_row_filter_is_undone(kind: int) -> None:
    """A mask whose rows another writer filtered is read as the same mask, whichever filter it used."""
    rows = bytes([kind, 0x01, 0x00]) * 3  # on such bytes the four filters disagree
    _, expected = read(one_bit(rows, width=13, height=3))
    assert expected.any()
    np.testing.assert_array_equal(decode_mask(one_bit(rows, width=13, height=3)), expected)


@given(MASKS, st.data())
def test_no_flipped_bit_goes_unseen(mask: NDArray[np.bool_], data: st.DataObject) -> None:
    """One bit flipped anywhere in a mask's file is refused: wrong pixels never come back."""
    good = bytearray(encode_mask(mask))
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    good[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="decode_mask: "):
        decode_mask(bytes(good))
