"""Slides of the TIFF family: is the file whole, and the pixels of those that need no OpenSlide.

`read_header` looks at every directory and finds that no tile lies behind the end of the file and none is larger than
a tile can sensibly be. `TiffPixels` reads tiled pyramids of 8-bit RGB or gray whose tiles are JPEG (by Pillow),
deflated or stored: Aperio SVS of that kind, and what libvips, QuPath or tifffile write with one directory a level.
JPEG 2000, LZW, OME-TIFF and vendors' own structures (Hamamatsu, Leica, Philips, Ventana, Trestle) are OpenSlide's.

**Why** the check stands before OpenSlide too: it gives white for a tile that is not there, fills gaps of an Aperio
slide from a coarser level, and takes tile sizes for granted when it allocates.
"""

from __future__ import annotations

import io
import itertools
import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrinity25m.errors import RefusedError

MAX_DIRECTORIES = 1000  # a pyramid has about ten; multiplexed ones a directory a level and channel
MAX_TILE_SIDE = 4096  # the largest tiles in use are 2,048 on a side
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG, _STORED, _DEFLATED = 7, 1, (8, 32946)  # TIFF Compression
_REDUCED = 1  # NewSubfileType: a reduced copy of another directory's image
_CENTIMETER = 3  # TIFF ResolutionUnit
_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError, struct.error, zlib.error, MemoryError,
)  # fmt: skip
"""What tifffile and Pillow raise on damaged bytes; none of it may escape."""


@dataclass(frozen=True)
class Directory:
    """One tiled image of the file, its tiles by row: `offsets` and `counts` are in bytes, a count of 0 is a gap."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    compression: int
    photometric: int
    predictor: int
    bands: int
    plain: bool
    """8 bits a sample, samples side by side."""
    reduced: bool
    tables: bytes

    def tiles(self, x0: int, y0: int, x1: int, y1: int) -> Iterator[tuple[int, int, int]]:
        """Yield number, column and row in pixels of each tile under a box, half-open, of this image."""
        across = -(-self.width // self.tile_width)
        rows = range(y0 // self.tile_height, -(-y1 // self.tile_height))
        for row, column in itertools.product(rows, range(x0 // self.tile_width, -(-x1 // self.tile_width))):
            yield row * across + column, column * self.tile_width, row * self.tile_height

    def gap(self, x0: int, y0: int, x1: int, y1: int) -> bool:
        """Say whether a tile under a box is missing."""
        return any(self.counts[number] == 0 for number, _, _ in self.tiles(x0, y0, x1, y1))


@dataclass(frozen=True)
class SlideHeader:
    """The tiled directories of a slide in the order of the file, and what its first one says about resolution.

    `mpp` is (x, y) in µm per pixel: Aperio's own, else of a TIFF resolution per centimeter, as OpenSlide has it;
    resolutions per inch are print sizes.
    """

    directories: tuple[Directory, ...]
    vendor: Literal["aperio", "other"] | None
    """None for a plain pyramid, which any program may have written."""
    mpp: tuple[float, float] | None
    magnification: float | None


def read_header(path: Path) -> SlideHeader:
    """Return what the directories of a slide say, each tile known to lie within the file.

    Raises:
        RefusedError: `slide.unreadable`, `slide.not_a_slide`, `slide.truncated`, `slide.corrupt`.
    """
    from tifffile import TiffFile  # here, since it takes a tenth of a second to import

    size = _check_start(path)
    with _errors_of_tifffile() as errors:
        try:
            with TiffFile(path) as tiff:
                pages: list[Any] = list(itertools.islice(tiff.pages, MAX_DIRECTORIES + 1))
                vendor, (mpp, magnification) = _vendor(pages[0]), _resolution(pages[0])
                directories = tuple(_directory(page) for page in pages if page.is_tiled)
                end = max(_end(page) for page in pages)
        except _DAMAGE as error:
            code = "slide.truncated" if errors else "slide.corrupt"
            raise RefusedError(code, f"the TIFF directories cannot be read: {type(error).__name__}") from None
    if errors:
        raise RefusedError("slide.truncated", "the TIFF directories lead out of the file; fetch it again")
    if len(pages) > MAX_DIRECTORIES:
        raise RefusedError("slide.corrupt", f"more than {MAX_DIRECTORIES:,} TIFF directories")
    if end > size:
        why = f"image data is promised up to byte {end:,}, the file has {size:,}; fetch it again"
        raise RefusedError("slide.truncated", why)
    for one in directories:
        _check(one)
    return SlideHeader(directories, vendor, mpp, magnification)


def _check_start(path: Path) -> int:
    """Return a file's size in bytes if it begins as a TIFF whose first directory lies within it."""
    try:
        with path.open("rb") as handle:
            head = handle.read(132)
            size = handle.seek(0, 2)
    except OSError as error:
        raise RefusedError("slide.unreadable", f"the file cannot be read: {error.strerror}") from None
    if head[:4] not in _MAGIC or head[128:] == b"DICM":
        why = "the file is no TIFF; convert CZI and slides of several files (MIRAX, VMS, DICOM) to a pyramidal TIFF"
        raise RefusedError("slide.not_a_slide", why)
    order: Literal["little", "big"] = "little" if head.startswith(b"I") else "big"
    first = int.from_bytes(head[8:16] if b"+" in head[:4] else head[4:8], order)
    if first >= size:
        raise RefusedError("slide.truncated", f"the first directory is at byte {first:,}, the file has {size:,}")
    return size


def _end(page: Any) -> int:
    """Return the first byte after the last one of a directory's image data."""
    tiles = min(len(page.dataoffsets), len(page.databytecounts))
    offsets, counts = (np.array(of[:tiles], np.int64) for of in (page.dataoffsets, page.databytecounts))
    return int((offsets + counts).max(initial=0))


def _directory(page: Any) -> Directory:
    return Directory(
        width=int(page.imagewidth),
        height=int(page.imagelength),
        tile_width=int(page.tilewidth),
        tile_height=int(page.tilelength),
        offsets=np.array(page.dataoffsets, np.int64),
        counts=np.array(page.databytecounts, np.int64),
        compression=int(page.compression),
        photometric=int(page.photometric),
        predictor=int(page.predictor),
        bands=int(page.samplesperpixel),
        plain=page.dtype == np.uint8 and int(page.planarconfig) == 1 and int(page.imagedepth) == 1,
        reduced=bool(page.subfiletype & _REDUCED),
        tables=bytes(page.jpegtables or b""),
    )


def _check(one: Directory) -> None:
    """Refuse a directory whose numbers contradict each other."""
    sides = (one.width, one.height, one.tile_width, one.tile_height)
    if min(sides) < 1 or max(sides[2:]) > MAX_TILE_SIDE:
        raise RefusedError("slide.corrupt", f"an image of {sides[0]} x {sides[1]} in tiles of {sides[2]} x {sides[3]}")
    needed = -(-one.width // one.tile_width) * -(-one.height // one.tile_height)
    if len(one.counts) < needed or len(one.offsets) < needed:
        why = f"an image of {one.width:,} x {one.height:,} needs {needed:,} tiles, {len(one.counts):,} are listed"
        raise RefusedError("slide.corrupt", f"{why}; the header is wrong, fetch the file again")


def _vendor(page: Any) -> Literal["aperio", "other"] | None:
    """Return whose structure a slide has, by its first directory."""
    if page.is_svs:
        return "aperio"
    own = page.is_ndpi or page.is_scn or page.is_philips or page.is_bif or page.is_qpi or page.is_ome
    return "other" if own or str(page.software).startswith("MedScan") else None  # MedScan is Trestle's


def _resolution(page: Any) -> tuple[tuple[float, float] | None, float | None]:
    """Return µm per pixel (x, y) and the objective's magnification, as Aperio or plain TIFF states them."""
    description = str(page.description)
    if not page.is_svs:
        unit, across, down = (page.tags.get(code) for code in (296, 282, 283))
        stated = unit is not None and unit.value == _CENTIMETER and across is not None and down is not None
        return (_per_pixel(across.value), _per_pixel(down.value)) if stated else None, None
    words = dict(part.split("=", 1) for part in description.split("|") if "=" in part)
    said = {key.strip(): value.strip() for key, value in words.items()}
    mpp, power = (_number(said.get(key)) for key in ("MPP", "AppMag"))
    return None if mpp is None else (mpp, mpp), power


def _per_pixel(resolution: tuple[int, int]) -> float:
    """Return µm per pixel of a TIFF resolution in pixels per centimeter, 0 where it is none."""
    return 10_000 * resolution[1] / resolution[0] if resolution[0] else 0.0


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


class TiffPixels:
    """Pixels of a tiled TIFF pyramid; attributes and `read` as in `slide_pixels.Pixels`.

    Raises:
        RefusedError: `slide.unsupported` for what only OpenSlide may be able to read.
    """

    def __init__(self, path: Path, header: SlideHeader) -> None:
        aperio = header.vendor == "aperio"
        found = header.directories[:1] + tuple(one for one in header.directories[1:] if aperio or one.reduced)
        levels = sorted(found, key=lambda one: one.width, reverse=True)
        if header.vendor == "other" or not levels:
            raise RefusedError("slide.unsupported", "this is no plain tiled pyramid and no Aperio slide")
        for one in levels:
            if not (one.plain and one.bands in (1, 3, 4) and one.compression in (_JPEG, _STORED, *_DEFLATED)):
                what = f"its tiles have {one.bands} channels and TIFF compression {one.compression}"
                raise RefusedError("slide.unsupported", what)
        self._levels = levels
        self._path = path
        self.sizes = tuple((one.width, one.height) for one in self._levels)
        self.mpp, self.magnification = header.mpp, header.magnification

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Return a box of a level, (H, W, 4) RGBA; where the file has no tile alpha is 0."""
        one = self._levels[level]
        box = np.zeros((y1 - y0, x1 - x0, 4), np.uint8)
        with self._path.open("rb") as handle:
            for number, left, top in one.tiles(x0, y0, x1, y1):
                if not one.counts[number]:
                    continue
                tile = _decode(handle, one, number)
                ax, ay = max(x0, left), max(y0, top)
                bx, by = min(x1, left + one.tile_width), min(y1, top + one.tile_height)
                box[ay - y0 : by - y0, ax - x0 : bx - x0, : tile.shape[2]] = tile[
                    ay - top : by - top, ax - left : bx - left
                ]
                if tile.shape[2] == 3:
                    box[ay - y0 : by - y0, ax - x0 : bx - x0, 3] = 255
        return box


def _decode(handle: BinaryIO, one: Directory, number: int) -> NDArray[np.uint8]:
    """Return a tile, (tile_height, tile_width, 3 or 4), gray spread over three channels."""
    handle.seek(int(one.offsets[number]))
    data = handle.read(int(one.counts[number]))
    try:
        tile = _decode_jpeg(data, one) if one.compression == _JPEG else _unpack(data, one)
    except _DAMAGE as error:
        raise RefusedError("slide.corrupt", f"tile {number} cannot be decoded: {type(error).__name__}") from None
    return np.repeat(tile, 3, axis=2) if tile.shape[2] == 1 else tile


def _decode_jpeg(data: bytes, one: Directory) -> NDArray[np.uint8]:
    """Decode an abbreviated JPEG stream with the directory's tables (TIFF technical note 2).

    The stream does not say whether its three channels are RGB or YCbCr; the directory does, and an Adobe marker
    (T.872 6.5.3) tells the decoder. On an Aperio slide the result was the same as OpenSlide's in every pixel.
    """
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([one.photometric == 6])
    stream = b"\xff\xd8" + adobe + one.tables[2:-2] + data[2:]
    image = Image.open(io.BytesIO(stream), formats=["JPEG"])
    if image.size != (one.tile_width, one.tile_height) or image.mode not in ("L", "RGB"):
        raise ValueError("not the size or kind of image that the directory states")
    tile = np.asarray(image)
    return tile[:, :, None] if tile.ndim == 2 else tile


def _unpack(data: bytes, one: Directory) -> NDArray[np.uint8]:
    """Return a stored or deflated tile, horizontal differences undone."""
    shape = (one.tile_height, one.tile_width, one.bands)
    needed = shape[0] * shape[1] * shape[2]
    if one.compression in _DEFLATED:
        data = zlib.decompressobj().decompress(data, needed)
    tile = np.frombuffer(data, np.uint8, needed).reshape(shape)
    return np.cumsum(tile, axis=1, dtype=np.uint8) if one.predictor == 2 else tile


@contextmanager
def _errors_of_tifffile() -> Iterator[list[str]]:
    """Keep what tifffile logs off the console; yield a list of what it says about directories and values left out."""
    logger = logging.getLogger("tifffile")
    errors: list[str] = []

    def hear(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.levelno >= logging.ERROR and ("page" in message or "invalid value offset" in message):
            errors.append(message)
        return False

    logger.addFilter(hear)
    try:
        yield errors
    finally:
        logger.removeFilter(hear)
