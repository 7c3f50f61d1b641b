"""Boxes of a slide's levels: read from the TIFF itself where that is plain, else by OpenSlide.

ICC profiles are not applied, as in every other reader of the package.

**Why** OpenSlide is not the first choice: on a level whose size is not a whole fraction of level 0 (741 rows of
2,967) it blends neighboring pixels, by up to 39 gray levels on a real slide, whereas `TiffPixels` gives them as
they are stored; where OpenSlide does not blend the two agree in every pixel. And tiles do not depend on whether the
extra `wsi` is installed.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.slide_tiff import SlideHeader, TiffPixels


class Pixels(Protocol):
    """An opened slide.

    Attributes:
        sizes: (width, height) of each level, the finest first.
        mpp: µm per pixel of level 0, (x, y), None where the file does not say.
        magnification: of the objective, None where the file does not say.
    """

    sizes: tuple[tuple[int, int], ...]
    mpp: tuple[float, float] | None
    magnification: float | None

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Return a half-open box in pixels of a level, (H, W, 4) RGBA; alpha is 0 where nothing was scanned."""


def open_pixels(path: Path, header: SlideHeader) -> Pixels:
    """Open a slide whose header was found sound.

    Raises:
        RefusedError: `slide.unsupported`, `slide.corrupt`.
    """
    try:
        return TiffPixels(path, header)
    except RefusedError as refusal:
        plain = refusal
    try:
        import openslide
    except ImportError:
        why = f"{plain.detail}; OpenSlide may know it: pip install 'medtrinity25m[wsi]'"
        raise RefusedError("slide.unsupported", why) from None
    try:
        return OpenSlidePixels(path, openslide)
    except openslide.OpenSlideUnsupportedFormatError:
        raise RefusedError("slide.unsupported", f"{plain.detail}, nor a format that OpenSlide knows") from None


class OpenSlidePixels:
    """Pixels by OpenSlide."""

    def __init__(self, path: Path, openslide: ModuleType) -> None:
        self._path, self._library = path, openslide
        self._slide: Any = self._open()
        self.sizes = tuple(self._slide.level_dimensions)
        self._downsamples = self._slide.level_downsamples
        said = self._slide.properties
        across, down, power = (
            _number(said.get(name)) for name in ("openslide.mpp-x", "openslide.mpp-y", "openslide.objective-power")
        )
        self.mpp = None if across is None or down is None else (across, down)
        self.magnification = power

    def _open(self) -> Any:
        try:
            return self._library.OpenSlide(self._path)
        except self._library.OpenSlideUnsupportedFormatError:
            raise
        except (self._library.OpenSlideError, OSError, UnicodeError) as error:
            why = str(error).replace(str(self._path), "the file")
            raise RefusedError("slide.corrupt", f"OpenSlide cannot open it: {why}") from None

    def read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.uint8]:
        """Return a box of a level, as `Pixels.read`."""
        if self._slide is None:  # after an error OpenSlide gives nothing any more
            self._slide = self._open()
        scale = self._downsamples[level]  # it wants the corner in pixels of level 0, and divides by just this
        try:
            box = self._slide.read_region((round(x0 * scale), round(y0 * scale)), level, (x1 - x0, y1 - y0))
        except self._library.OpenSlideError as error:
            self._slide = None
            why = str(error).replace(str(self._path), "the file")
            raise RefusedError("slide.corrupt", f"pixels {x0}, {y0} of level {level} cannot be read: {why}") from None
        return np.asarray(box)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
