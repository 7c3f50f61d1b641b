"""PNG, JPEG, TIFF, WebP and BMP: pixels for display, raw values for masks, and the file itself where it may ship as is.

An 8-bit, single-image PNG or JPEG that is upright and holds nothing behind its end passes through byte for byte;
everything else becomes pixels. Print resolutions (pHYs, XResolution) and the micron calibrations of microscope
software are no `spacing_mm`: the first speaks of paper, the others follow no common standard.

**Why**

- *Alpha is dropped, colours stay as stored.* It is what `convert("RGB")` gives the reader of a row that passed
  through, and a background behind half-transparent pixels would be ours, not the microscope's.
- *16 bits and more go through a window*, since a 12-bit sensor fills a sixteenth of the range. Pillow keeps only
  the high byte of 16-bit colour in PNG and in TIFF with LZW: `window` then says 0..65535.
- *EXIF orientation is asked of Pillow*, which also looks into XMP, because `datasets` asks Pillow too: what this
  module calls upright is what a reader of the row sees upright.
- *TIFF of more than 8 bits is read by tifffile* where its strips are stored or deflated; Pillow has no 16-bit
  RGB, no unsigned 32-bit and no 64-bit samples.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers import raster_header
from medtrinity25m.readers.bitmap import read_bitmap
from medtrinity25m.readers.decoder_log import complaints
from medtrinity25m.readers.raster_header import Page, RasterKind
from medtrinity25m.readers.record import Plane
from medtrinity25m.readers.window import explicit_window, percentile_window, show
from medtrinity25m.registry import WindowRule
from medtrinity25m.triplet import Window

Scalar = TypeVar("Scalar", bound=np.generic)
Result = TypeVar("Result")

HIGH_BYTE = Window(center=32767.5, width=65535.0, name="full_range")  # of 16 bits, where Pillow keeps no more
_PNG_EXIF = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")  # where a PNG can say how it is turned
_ORIENTATION = 0x0112  # the EXIF and TIFF tag, values 1 to 8
_SMALL_GREY = {2: 85, 4: 17}  # Pillow spreads 2 and 4 bits over 0..255; dividing gives the stored value back
_DEEP = (8, 16, 32, 64)  # sample depths tifffile gives without imagecodecs, as NumPy has them
_UNPACKED = (1, 8, 32946)  # TIFF Compression it unpacks by itself: none, Adobe deflate and its older number
_FORMATS = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "webp": "WEBP"}
_LIBTIFF = re.compile(
    rb"(?!\w*(?:Error|Warning|Exception): )(?:(?:tempfile\.tif|JPEGLib|_?[A-Z]\w*[a-z0-9][A-Z]\w*"
    rb"|(?:TIFF|LZW|ZIP|ZSTD|LZMA|LERC|O?JPEG|JBIG)\w*): |Apparently |  Value )"
)
"""How lines of libtiff begin: with Pillow's name for the file or the function that speaks, or as a second line."""
_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow and tifffile raise on damaged bytes, by trying; none of it may escape."""


def orient_array(array: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Return an (H, W) or (H, W, C) array as EXIF `orientation` (1–8) says it is to be seen; 5–8 swap the sides."""
    turned = array.swapaxes(0, 1) if orientation >= 5 else array
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return np.ascontiguousarray(turned[rows, columns])


def orient_point(x: float, y: float, width: float, height: float, orientation: int) -> tuple[float, float]:
    """Return where a point of a stored image of `width` x `height` lies after EXIF `orientation`.

    Coordinates are continuous, in pixels, with pixel edges at integers: the image covers 0..width and 0..height.
    """
    if orientation >= 5:
        x, y, width, height = y, x, height, width
    return width - x if orientation in (2, 3, 6, 7) else x, height - y if orientation in (3, 4, 7, 8) else y


class RasterFile:
    """An opened PNG, JPEG, TIFF, WebP or BMP file.

    Args:
        data: the file's bytes; `path` is for messages, `kind` the format `safe.sniff` found.
        window: for samples of more than 8 bits. (center, width) is applied as named `source`; any other rule
            means the 0.5th to 99.5th percentile of the page, since no raster format states a window or HU.
        spacing_mm: (row, column) spacing of the stored image where the source knows it, passed on; its two
            numbers change places with the sides of an image that EXIF turns.
        rescale: (slope, intercept) from the numbers of a 16-bit image to HU, which the source states; `window` may
            then be a preset, and `values` of a plane are filled.

    Attributes:
        count: pages of a TIFF (reduced copies and masks of other pages apart), frames of an animation, else 1.
        lossy: values near an edge are not exact, so a mask may be trusted to be dark or light and no more.

    Raises:
        RefusedError: `raster.truncated`, `raster.corrupt`, `raster.too_large`, `raster.unsupported`.
    """

    def __init__(
        self,
        data: bytes,
        path: str,
        kind: RasterKind,
        window: WindowRule = "header",
        spacing_mm: tuple[float, float] | None = None,
        rescale: tuple[float, float] | None = None,
    ) -> None:
        self._data, self._path, self._kind = data, path, kind
        self._window = None if isinstance(window, str) and rescale is None else explicit_window(window)
        self._rescale = rescale
        self._spacing_mm = spacing_mm
        self._header = raster_header.read_header(data, path, kind)
        self.count = len(self._header.pages)
        self.lossy = self._header.lossy
        self._image: Image.Image | None = None
        # Pillow decodes a whole PNG to look for EXIF behind its pixels; nearly none has any
        self._may_turn = kind != "png" or any(word in data for word in _PNG_EXIF)
        self._passes = self._header.pages[0].bits == 8 and kind in ("png", "jpeg") and not self._header.trailing
        if self._passes:
            image = self._open(0)
            single = len(self._header.pages) == 1 == getattr(image, "n_frames", 1)  # no MPO
            self._passes = single and self._orientation(image) == 1

    def _orientation(self, image: Image.Image) -> int | None:
        return _exif_orientation(image) if self._may_turn else 1

    def place(self, index: int) -> str:
        """Return what names a plane within its file."""
        return f"page={index}"

    def cost(self, page: int) -> int:
        """Return an upper bound of the bytes the encoded image takes."""
        head = self._header.pages[page]
        return len(self._data) if self._passes else raster_header.png_bound(head.height, head.width, 3)

    def plane(self, page: int = 0) -> Plane:
        """Return one page, upright: (H, W) grey or (H, W, 3) RGB; `window` is None for samples of 8 bits or fewer."""
        samples, orientation = self._samples(page, colours=True)
        values = self._rescaled(samples)
        pixels, window = self._show(page, samples if values is None else values)
        spacing = self._spacing_mm
        return Plane(
            pixels=orient_array(pixels, orientation),
            values=None if values is None else orient_array(values, orientation),
            values_unit=None if values is None else "HU",
            encoded=self._data if self._passes else None,
            spacing_mm=spacing[::-1] if spacing and orientation >= 5 else spacing,
            window=window,
            orientation=orientation,
        )

    def labels(self, page: int = 0) -> NDArray[np.int32]:
        """Return the values of a mask as stored, (H, W): palette indices, 16-bit numbers, 0 and 1 of a 1-bit image.

        The file's own EXIF orientation (see `orientation`) is not applied.

        Raises:
            RefusedError: `raster.mask_colour` when red, green and blue differ, `raster.mask_values` when a value
                is no integer of 32 bits; and what decoding raises.
        """
        samples, _ = self._samples(page, colours=False)
        if samples.ndim == 3:
            if (samples != samples[:, :, :1]).any():
                why = "is in colours; save it with one channel that holds class or instance numbers, or with a palette"
                raise RefusedError("raster.mask_colour", f"mask {self._path} {why}")
            samples = samples[:, :, 0]
        if self._halved(page, samples):
            raise RefusedError("raster.unsupported", f"mask {self._path} has 16-bit colours; save it with one channel")
        with np.errstate(invalid="ignore"):  # NaN and what does not fit come out different, and are refused
            labels = samples.astype(np.int32)
        if (labels != samples).any():
            raise RefusedError("raster.mask_values", f"mask {self._path} holds values that are no 32-bit integers")
        return labels

    def orientation(self, page: int = 0) -> int:
        """Return the EXIF orientation (1–8) of a page; 1 where the file says none, or none that is valid."""
        if self._kind == "bmp":  # has no room for one
            return 1
        head = self._header.pages[page]
        return _valid(head.orientation) if self._deep(head) else self._orientation(self._open(page)) or 1

    def _show(self, page: int, samples: NDArray[Any]) -> tuple[NDArray[np.uint8], Window | None]:
        """Return samples of any depth as 8 bits, and the window that did it."""
        if samples.dtype == np.uint8:
            return samples, HIGH_BYTE if self._halved(page, samples) else None
        if samples.dtype == np.bool_:
            return samples.astype(np.uint8) * np.uint8(255), None
        window = self._window or percentile_window(samples)
        return show(samples, window), window

    def _rescaled(self, samples: NDArray[Any]) -> NDArray[np.float32] | None:
        """Return what the stored numbers of a deep gray image mean, (H, W), where the source says it."""
        if self._rescale is None or samples.ndim != 2 or samples.dtype in (np.uint8, np.bool_):
            return None
        slope, intercept = self._rescale
        return (samples * np.float64(slope) + intercept).astype(np.float32)

    def _halved(self, page: int, samples: NDArray[Any]) -> bool:
        """Say whether Pillow gave the high byte of 16-bit samples."""
        return samples.dtype == np.uint8 and self._header.pages[page].bits == 16

    def _samples(self, page: int, *, colours: bool) -> tuple[NDArray[Any], int]:
        """Return the samples as stored, (H, W) or (H, W, 3), and the EXIF orientation they wait for.

        bool of a 1-bit image, uint8, or deeper. With `colours` palettes and inks become RGB.
        """
        head = self._header.pages[page]
        if self._kind == "png":
            raster_header.check_rows(self._header, self._path)
        if self._kind == "bmp":
            return self._bitmap(colours), 1
        if self._deep(head):
            return self._deep_tiff(head), _valid(head.orientation)
        image = self._open(page)
        orientation = self._orientation(image) or 1
        with _libtiff(self._path) if self._kind == "tiff" else nullcontext():
            self._attempt("raster.corrupt", image.load)
        samples = self._attempt("raster.unsupported", lambda: _array(image, colours))
        if not colours and image.mode == "L":
            samples = samples // _SMALL_GREY.get(head.bits, 1)
        if head.bands == 2 and samples.ndim == 3:  # Pillow makes 16-bit grey with alpha RGBA
            samples = samples[:, :, 0]
        if self._kind == "tiff":  # Pillow turns TIFF while loading
            samples = orient_array(samples, {6: 8, 8: 6}.get(orientation, orientation))
        if samples.shape[:2] != (head.height, head.width):
            why = f"{self._path}: {samples.shape} decoded, {head.height} x {head.width} promised"
            raise RefusedError("raster.corrupt", why)
        return samples, orientation

    def _deep(self, head: Page) -> bool:
        """Say whether a page is for tifffile: TIFF of more than 8 bits or signed, in an encoding it has itself."""
        deep = self._kind == "tiff" and (head.bits > 8 or head.format == 2)
        return deep and head.bits in _DEEP and head.compression in _UNPACKED and head.predictor < 3

    def _deep_tiff(self, head: Page) -> NDArray[Any]:
        """Return the samples of a TIFF page of 16 bits or more, grey or RGB, white as the highest value."""
        from tifffile import TiffFile  # here, since it takes a tenth of a second to import and few files need it

        colour_bands = {0: 1, 1: 1, 2: 3}.get(head.photometric)  # white is zero, black is zero, RGB
        if colour_bands is None or head.bands not in (colour_bands, colour_bands + 1):
            what = f"{head.bands} channels of {head.bits} bits, photometric {head.photometric}"
            raise RefusedError("raster.unsupported", f"{self._path}: {what}; save the channels as grey images")
        raster_header.check_segments(head, self._data, self._path)

        def read() -> NDArray[Any]:
            with TiffFile(io.BytesIO(self._data)) as tiff:
                return tiff.pages[head.ifd].asarray()

        samples = self._attempt("raster.corrupt", read)
        if head.planar == 2 and samples.ndim == 3:
            samples = np.moveaxis(samples, 0, -1)
        samples = samples[..., :3] if colour_bands == 3 else samples[..., 0] if samples.ndim == 3 else samples
        if samples.shape[:2] != (head.height, head.width) or samples.ndim != (3 if colour_bands == 3 else 2):
            why = f"{self._path}: {samples.shape} decoded, {head.height} x {head.width} promised"
            raise RefusedError("raster.corrupt", why)
        if head.photometric == 0:
            samples = ~samples if samples.dtype.kind in "iu" else -samples
        return samples

    def _bitmap(self, colours: bool) -> NDArray[np.uint8]:
        """Return the samples of a bitmap."""
        bitmap = read_bitmap(self._data, self._path)
        numbers = bitmap.bits <= 8 and not colours
        return self._attempt("raster.corrupt", partial(bitmap.indices if numbers else bitmap.colors, self._data))

    def _open(self, page: int) -> Image.Image:
        """Return Pillow's image at a page, not decoded yet; the last image is kept, since pages follow each other.

        One that stands at the page already may have been decoded, and Pillow turns TIFF in place: open it anew.
        """
        head = self._header.pages[page]
        frame = head.ifd if self._kind == "tiff" else page
        if self._image is None or self._image.tell() == frame:
            self._image = self._attempt("raster.unsupported", self._first)
        image = self._image
        self._attempt("raster.unsupported", lambda: image.seek(frame))
        if sorted(image.size) != sorted((head.width, head.height)):
            why = f"{self._path}: Pillow sees {image.size}, not {head.width} x {head.height}"
            raise RefusedError("raster.corrupt", why)
        return image

    def _first(self) -> Image.Image:
        return Image.open(io.BytesIO(self._data), formats=[_FORMATS[self._kind]])

    def _attempt(self, code: str, action: Callable[[], Result]) -> Result:
        """Return what a decoder's call returns; whatever it raises becomes a refusal."""
        try:
            with _quiet():
                return action()
        except (Image.DecompressionBombError, MemoryError) as error:
            self._image = None
            raise RefusedError("raster.too_large", f"{self._path}: {error}") from None
        except _DAMAGE as error:
            self._image = None
            code = "raster.truncated" if "truncated" in str(error).lower() else code
            said = "" if isinstance(error, UnidentifiedImageError) else f" {error}"  # which would say where in memory
            raise RefusedError(code, f"{self._path} as {self._kind}: {type(error).__name__}{said}") from None


def _array(image: Image.Image, colours: bool) -> NDArray[Any]:
    """Return a loaded image's samples without alpha; with `colours` palettes and inks become RGB."""
    mode = image.mode
    if mode in ("1", "L", "I", "F") or mode.startswith("I;16") or (mode == "P" and not colours):
        return np.asarray(image)
    if mode in ("LA", "La"):
        return np.asarray(image.getchannel(0))
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def _exif_orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation `datasets` would apply, 1 for none, None where EXIF cannot be read."""
    try:
        with _quiet():
            value = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        return None
    return _valid(value)


def _valid(orientation: object) -> int:
    """Return an orientation, or 1 for what is none."""
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


@contextmanager
def _libtiff(path: str) -> Iterator[None]:
    """Keep off the console what libtiff prints while it decodes, and take it for what it is: the file is damaged.

    Pillow hands on pixels although libtiff had to give up on JPEG inside TIFF, and libtiff says so on stderr only.
    What others print meanwhile is handed on.
    """
    with complaints(_LIBTIFF) as lines:
        yield
    if errors := [line for line in lines if ": Warning, " not in line]:
        raise RefusedError("raster.corrupt", f"{path}: libtiff says {errors[0]}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings and log lines of the decoders off the console: a refusal says what matters."""
    loggers = [logging.getLogger(name) for name in ("PIL", "tifffile")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
