"""Whole-slide images: the tiles of a regular grid that show tissue, at a wanted resolution.

The grid starts at the upper-left corner of level 0; tiles that leave the slide at its right or lower edge are left
out. A tile is read from the coarsest level that is still as fine as wanted, and only that region. What was not
scanned is white, half-transparent pixels lie on white, ICC profiles are ignored.

**Why**

- *Lanczos, whatever the factor*: levels lie a factor of 4 apart, so most factors are between 1 and 4 and not whole;
  a box filter then counts some rows twice as much as others. Whole factors use the same filter, so that tiles of
  scanners of 0.2500 and 0.2527 µm look alike. It takes in 3 pixels of the result around the tile, so that
  neighboring tiles meet without a seam.
- *Never finer than the slide* by more than a tenth, which is how far scanners of one nominal magnification differ:
  pixels beyond that would show detail nobody saw.
- *µm per pixel are never worked out from the magnification*: "40x" is 0.22 to 0.28 µm by scanner.
- *A size beyond what microscopes have is no size*: libvips writes 1,000 µm per pixel where it knows nothing.
"""

from __future__ import annotations

import itertools
from math import ceil, floor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.raster_header import MAX_PIXELS, png_bound
from medtrinity25m.readers.record import Plane
from medtrinity25m.readers.slide_pixels import open_pixels
from medtrinity25m.readers.slide_tiff import read_header
from medtrinity25m.readers.tissue import tissue_mask

MAX_TILES = 1 << 20  # on the grid: 262,144 pixels squared in tiles of 256
MPP_RANGE = (0.05, 20.0)  # 100x oil immersion to a flatbed scan of a slide
FINEST = 1 / 1.1  # share of the slide's own pixel size a wanted pixel may have
LEVEL_SLACK = 1.01  # a level of 4.003 serves a factor of 4
TILE_ON_OVERVIEW = 16  # pixels a tile's side has on the overview, so that its tissue share is known to a percent
MIN_ON_OVERVIEW = 4
SAME = 1e-6  # pixels: what rounding of floating point leaves of equal lengths
LANCZOS_SUPPORT = 3  # pixels of the coarser grid on each side


class Tile(NamedTuple):
    """A tile's upper-left corner in pixels of level 0, and the share of it that is tissue.

    The share is counted in squares of a 16th to a 31st of the tile's side; gaps finer than these count as tissue.
    """

    x: int
    y: int
    tissue: float


class Cut(NamedTuple):
    """One axis of a tile on a level: pixels `low` to `high` are read, and `start` to `stop` of these are the tile."""

    low: int
    high: int
    start: float
    stop: float


class SlideFile:
    """An opened whole-slide image.

    Args:
        path: the file; messages do not name it, since their reader knows the source's own name for it.
        mpp: wanted µm per pixel, or
        magnification: wanted magnification; with neither tiles are of level 0.
        tile_px: side of a tile in pixels at that resolution.
        min_tissue: share of a tile that must be tissue, 0 to 1.

    Attributes:
        tiles: the tiles that become planes, row by row.
        count: their number.
        spacing_mm: (row, column) spacing of a tile, None where the slide does not state its pixel size.

    Raises:
        RefusedError: `slide.mpp_unknown`, `slide.magnification_unknown`, `slide.too_coarse`, `slide.too_small`,
            `slide.too_large`, `slide.no_level`, `slide.no_overview`, `slide.no_tissue`, `slide.not_a_slide`,
            `slide.truncated`, `slide.corrupt`, `slide.unsupported`, `slide.unreadable`.
    """

    def __init__(
        self, path: Path, *, mpp: float | None, magnification: float | None, tile_px: int, min_tissue: float
    ) -> None:
        header = read_header(path)
        self._pixels = open_pixels(path, header)
        self._directories = header.directories
        self._size, self._tile_px = self._pixels.sizes[0], tile_px
        self._ratios = [_ratio(self._size, size) for size in self._pixels.sizes]
        own_mpp = self._pixels.mpp if _plausible(self._pixels.mpp) else None
        self._factor = self._wanted(mpp, magnification, own_mpp)
        self.spacing_mm = None if own_mpp is None else self._spacing(own_mpp, mpp)
        self._level = self._nearest_level()
        self.tiles = self._tissue_tiles(min_tissue)
        self.count = len(self.tiles)

    def cost(self, index: int) -> int:  # noqa: ARG002  # all tiles have one size
        """Return an upper bound of the bytes the encoded tile takes."""
        return png_bound(self._tile_px, self._tile_px, 3)

    def place(self, index: int) -> str:
        """Return where a tile lies, for its locator: `x=1024,y=512`, its corner in pixels of level 0."""
        tile = self.tiles[index]
        return f"x={tile.x},y={tile.y}"

    def plane(self, index: int) -> Plane:
        """Return a tile, (tile_px, tile_px, 3) RGB.

        Raises:
            RefusedError: `slide.corrupt` when it cannot be decoded, `slide.missing_tile` when the file lacks a part.
        """
        tile, level = self.tiles[index], self._level
        size, ratios = self._pixels.sizes[level], self._ratios[level]
        sides = (self._tile_px * factor / ratio for factor, ratio in zip(self._factor, ratios, strict=True))
        across, down = (
            _cut(corner / ratio, side, end, self._tile_px)
            for corner, ratio, side, end in zip(tile[:2], ratios, sides, size, strict=True)
        )
        region = (across.low, down.low, across.high, down.high)
        if any(one.gap(*region) for one in self._directories if (one.width, one.height) == size):
            why = f"a part of the tile at {self.place(index)} is not in the file; it was not scanned, or got lost"
            raise RefusedError("slide.missing_tile", why)
        image = self._read(level, *region).resize(
            (self._tile_px, self._tile_px),
            Image.Resampling.LANCZOS,
            box=(across.start, down.start, across.stop, down.stop),
        )
        return Plane(pixels=np.asarray(image), spacing_mm=self.spacing_mm)

    def _wanted(
        self, mpp: float | None, magnification: float | None, own_mpp: tuple[float, float] | None
    ) -> tuple[float, float]:
        """Return how many pixels of level 0 a wanted pixel is wide and high."""
        if mpp is not None:
            if own_mpp is None:
                said = f"states {self._pixels.mpp} µm per pixel" if self._pixels.mpp else "states no µm per pixel"
                why = f"the slide {said}; leave mpp out, or ask for a magnification"
                raise RefusedError("slide.mpp_unknown", why)
            factor = (mpp / own_mpp[0], mpp / own_mpp[1])
        elif magnification is not None:
            power = self._pixels.magnification
            if power is None or not power > 0:
                why = "the slide does not state its objective's magnification; leave magnification out, or ask for mpp"
                raise RefusedError("slide.magnification_unknown", why)
            factor = (power / magnification,) * 2
        else:
            return 1.0, 1.0
        if min(factor) < FINEST:
            why = f"the slide's pixels are {1 / min(factor):.2f} times as large as wanted; ask for a coarser resolution"
            raise RefusedError("slide.too_coarse", why)
        return factor

    def _spacing(self, own_mpp: tuple[float, float], mpp: float | None) -> tuple[float, float]:
        if mpp is not None:
            return mpp / 1000, mpp / 1000
        return own_mpp[1] * self._factor[1] / 1000, own_mpp[0] * self._factor[0] / 1000

    def _nearest_level(self) -> int:
        """Return the coarsest level that is as fine as wanted."""
        fine = [level for level, ratio in enumerate(self._ratios) if _within(ratio, self._factor)]
        level = fine[-1] if fine else 0
        sides = (self._tile_px * factor / at for factor, at in zip(self._factor, self._ratios[level], strict=True))
        across, down = (side * (1 + 2 * LANCZOS_SUPPORT / self._tile_px) for side in sides)
        if across * down > MAX_PIXELS:
            why = f"a tile covers {across:,.0f} x {down:,.0f} pixels of the nearest level"
            raise RefusedError("slide.no_level", f"{why}; write a pyramid with more levels")
        return level

    def _tissue_tiles(self, min_tissue: float) -> tuple[Tile, ...]:
        """Return the tiles of the grid that have enough tissue."""
        spans = [self._tile_px * factor for factor in self._factor]
        columns, rows = (floor(side / span + SAME) for side, span in zip(self._size, spans, strict=True))
        if columns * rows < 1:
            why = f"a tile covers {spans[0]:,.0f} x {spans[1]:,.0f} pixels, the slide has {self._size}"
            raise RefusedError("slide.too_small", f"{why}; choose a smaller tile_px")
        if columns * rows > MAX_TILES:
            raise RefusedError("slide.too_large", f"{columns:,} x {rows:,} tiles; the limit is {MAX_TILES:,}")
        shares = self._tissue_shares(columns, rows, spans)
        kept = tuple(
            Tile(floor(column * spans[0] + SAME), floor(row * spans[1] + SAME), float(shares[row, column]))
            for row, column in itertools.product(range(rows), range(columns))
            if shares[row, column] >= min_tissue - SAME
        )
        if not kept:
            why = f"none of {columns * rows:,} tiles is tissue to {min_tissue:.0%}, the fullest to {shares.max():.0%}"
            raise RefusedError("slide.no_tissue", f"{why}; lower min_tissue if there should be any")
        return kept

    def _tissue_shares(self, columns: int, rows: int, spans: list[float]) -> NDArray[np.float32]:
        """Return the share of tissue of each tile of the grid, (rows, columns)."""
        level = self._overview_level(min(spans))
        ratios, (width, height) = self._ratios[level], self._pixels.sizes[level]
        shrink = max(1, floor(min(spans) / max(ratios) / TILE_ON_OVERVIEW))
        band = max(shrink, 1024 // shrink * shrink)
        parts = [
            np.asarray(self._read(level, 0, top, width, min(top + band, height)).reduce(shrink))
            for top in range(0, height, band)
        ]
        mask = Image.fromarray(tissue_mask(np.concatenate(parts)).astype(np.float32))
        right, bottom = (
            min(count * span / ratio / shrink, side)
            for count, span, ratio, side in zip((columns, rows), spans, ratios, mask.size, strict=True)
        )
        return np.asarray(mask.resize((columns, rows), Image.Resampling.BOX, box=(0, 0, right, bottom)))

    def _overview_level(self, span: float) -> int:
        """Return the coarsest level on which a tile is still large enough to tell how much of it is tissue."""
        sharp = [level for level, ratio in enumerate(self._ratios) if span / max(ratio) >= TILE_ON_OVERVIEW]
        for level in range(sharp[-1] if sharp else 0, len(self._ratios)):
            width, height = self._pixels.sizes[level]
            if width * height <= MAX_PIXELS and (level in sharp or span / max(self._ratios[level]) >= MIN_ON_OVERVIEW):
                return level
        why = f"no level has at most {MAX_PIXELS:,} pixels, to look for tissue; write a pyramid with more levels"
        raise RefusedError("slide.no_overview", why)

    def _read(self, level: int, x0: int, y0: int, x1: int, y1: int) -> Image.Image:
        """Return a box of a level as RGB on white."""
        box = Image.fromarray(self._pixels.read(level, x0, y0, x1, y1))
        paper = Image.new("RGB", box.size, "white")
        paper.paste(box, mask=box.getchannel("A"))
        return paper


def _cut(at: float, side: float, end: int, tile_px: int) -> Cut:
    """Return what to read of a level of `end` pixels for a tile of `side` pixels at `at`, to become `tile_px`."""
    if abs(side - tile_px) < SAME:
        return Cut(round(at), round(at) + tile_px, 0.0, float(tile_px))
    margin = ceil(LANCZOS_SUPPORT * max(side / tile_px, 1))
    low, high = max(0, floor(at) - margin), min(end, ceil(at + side) + margin)
    return Cut(low, high, at - low, min(at + side, end) - low)


def _plausible(mpp: tuple[float, float] | None) -> bool:
    """Say whether a microscope can have such pixels; false for NaN."""
    return mpp is not None and all(MPP_RANGE[0] <= side <= MPP_RANGE[1] for side in mpp)


def _ratio(full: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """Return how many pixels of level 0 a pixel of a level is wide and high: a whole number where rounding allows it.

    Raises:
        RefusedError: `slide.corrupt` when the level has not the shape of the slide.
    """
    if min(size) < 1:
        raise RefusedError("slide.corrupt", f"a level has the size {size}")
    across, down = (whole / side for whole, side in zip(full, size, strict=True))
    near = round(across)
    if all(whole // near <= side <= -(-whole // near) for whole, side in zip(full, size, strict=True)):
        return float(near), float(near)
    rounding = 0.01 + 2 / min(size)
    if abs(across / down - 1) > rounding:
        raise RefusedError("slide.corrupt", f"a level of {size} does not have the shape of the slide, {full}")
    return across, down


def _within(ratio: tuple[float, float], factor: tuple[float, float]) -> bool:
    return all(at <= wanted * LEVEL_SLACK for at, wanted in zip(ratio, factor, strict=True))
