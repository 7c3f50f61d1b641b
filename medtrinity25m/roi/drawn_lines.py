"""Straight green lines in a picture: how green each pixel is for its place, and where rows of such pixels run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.int16]
Index = NDArray[np.intp]

SHORTEST_PX = 8
"""A piece of line, and so the side of a box, has at least this length."""
REACH_PX = 5
"""How far color bleeds along and across a line: an end is known no better."""

_LUMAS = (75, 148)  # of (0, 128, 0), and of (0, 255, 0) and the release's (26, 229, 26)
_LUMA_REACH = 50  # a line 1 pixel wide is pulled this far towards its surroundings by compression
_WIDEST_PX = 15  # a line of 4 pixels with the bleeding of its color
_FAINTEST = 8  # below it lies the noise of compression
_STRONGEST = 96
_BLEACHED = -90  # red or blue over green by more than a faint green line on stained tissue leaves
_REDDER = 75  # red over luma: orange is as bright as lime
_RUN_PX = 4  # a side of 8 pixels shows this much between the sides it meets
_MOST_TRIED = 200
_MOST_LINES = 60


class Picture(NamedTuple):
    """What lines are looked for in, each (H, W) int16.

    Args:
        ink: how much a pixel looks like a line of one kind of green, 0 to 96.
        excess: green over the greater of red and blue.
        luma: brightness, 0 to 255.
    """

    ink: Map
    excess: Map
    luma: Map

    def turned(self) -> Picture:
        """Return the picture with rows and columns exchanged."""
        return Picture(np.ascontiguousarray(self.ink.T), self.excess.T, self.luma.T)


@dataclass(frozen=True, eq=False, slots=True)
class Line:
    """One straight piece of line along a row (or, in a turned picture, a column).

    `position` is its strongest row, `near` and `far` its half-open extent across, `start` and `stop` along. The
    arrays are running sums along the whole row: of ink, of pixels with ink, of pixels where the line stands out from
    what lies on both sides. `border` marks the edge of the picture, which can stand for a side that lies outside.
    """

    position: int
    start: int
    stop: int
    near: int
    far: int
    level: float
    total: NDArray[np.int64]
    covered: NDArray[np.int64]
    firm: NDArray[np.int64]
    border: bool = False

    def mean(self, start: int, stop: int) -> float:
        """Return the mean ink of a stretch."""
        return float(self.total[stop] - self.total[start]) / max(1, stop - start)

    def coverage(self, start: int, stop: int) -> float:
        """Return the share of a stretch that has ink."""
        return float(self.covered[stop] - self.covered[start]) / max(1, stop - start)

    def firmness(self, start: int, stop: int) -> float:
        """Return the share of a stretch, less its ends, where the line stands out from both its sides."""
        trim = min(4, (stop - start) // 4)
        return float(self.firm[stop - trim] - self.firm[start + trim]) / max(1, stop - start - 2 * trim)

    def beyond(self, other: Line, step: int) -> tuple[int, int]:
        """Return the stretch of this line shortly before (`step` -1) or after (1) a line across it."""
        if step < 0:
            return max(0, other.near - 2 * REACH_PX - 1), max(0, other.near - 3)
        last = len(self.firm) - 1
        return min(last, other.far + 3), min(last, other.far + 2 * REACH_PX + 1)

    def runs_on(self, other: Line, step: int) -> bool:
        """Say whether this line goes on beyond a line across it, backward (`step` -1) or forward (1)."""
        start, stop = self.beyond(other, step)
        return stop - start > 2 and float(self.firm[stop] - self.firm[start]) > 0.6 * (stop - start)

    def continues(self, other: Line) -> bool:
        """Say whether two pieces lie in the same rows and are about as strong."""
        same = abs(self.near - other.near) <= 1 and abs(self.far - other.far) <= 1
        return same and 0.5 < self.level / other.level < 2

    def echoes(self, other: Line) -> bool:
        """Say whether this faint line runs so close beside a strong one that compression alone explains it."""
        beside = min(self.stop, other.stop) - max(self.start, other.start) > 0.5 * (self.stop - self.start)
        return beside and abs(self.position - other.position) <= 9 and self.level < 0.6 * other.level


def border(position: int, length: int) -> Line:
    """Return the edge of a picture at row -1 or behind the last, as a line without ink."""
    edge = max(0, position)
    none = np.zeros(length + 1, np.int64)
    return Line(position, 0, length, edge, edge, 0.0, none, none, none, border=True)


def pictures(pixels: NDArray[np.uint8]) -> Iterator[Picture]:
    """Yield (H, W, 3) pixels as seen for each kind of green; nothing where nothing is green."""
    red, green, blue = (pixels[..., channel].astype(np.int16) for channel in range(3))
    excess = green - np.maximum(red, blue)
    standing_out = np.clip(excess - _opened(excess), 0, _STRONGEST)
    if np.count_nonzero(standing_out > _FAINTEST) < 2 * SHORTEST_PX:
        return
    luma = ((77 * red.astype(np.uint16) + 150 * green.astype(np.uint16) + 29 * blue.astype(np.uint16)) >> 8).astype(
        np.int16
    )
    standing_out[(red > luma + _REDDER) | (excess < _BLEACHED)] = 0
    for level in _LUMAS:
        ink = np.maximum(_LUMA_REACH - np.abs(luma - np.int16(level)), 0)
        ink *= standing_out
        ink //= np.int16(_LUMA_REACH)
        yield Picture(ink, excess, luma)


def find_lines(picture: Picture) -> list[Line]:
    """Return the straight pieces of line along the rows of a picture, the strongest of each place."""
    ridge = _ridge(picture.ink)
    mask = ridge > _FAINTEST
    if not mask.any():
        return []
    mask &= 4 * ridge >= 3 * _running(np.maximum, np.pad(ridge, ((2, 2), (0, 0))), 5)
    row, start, stop = _runs(mask)
    weight = _along(ridge, row, start, stop)
    weight[_along(picture.excess, row, start, stop) < _BLEACHED / 2 * (stop - start)] = 0
    lines: list[Line] = []
    taken = np.zeros((_MOST_TRIED, 3), np.intp)
    for tried, i in enumerate(np.argsort(-weight, kind="stable")[:_MOST_TRIED]):
        if not weight[i]:
            break
        known = taken[:tried]
        shared = np.minimum(stop[i], known[:, 2]) - np.maximum(start[i], known[:, 1])
        if np.any((np.abs(row[i] - known[:, 0]) <= 4) & (2 * shared > stop[i] - start[i])):
            continue
        line = _line(picture, int(row[i]), int(start[i]), int(stop[i]))
        taken[tried] = (row[i], start[i], stop[i]) if line is None else (line.position, line.start, line.stop)
        if line is not None and line.stop - line.start >= SHORTEST_PX and not any(map(line.echoes, lines)):
            lines.append(line)
        if len(lines) >= _MOST_LINES:
            break
    return _joined(lines)


def _along(values: Map, row: Index, start: Index, stop: Index) -> NDArray[np.int32]:
    """Return the sums of a map over runs, which are sorted by row and start."""
    bounds = np.stack([row * values.shape[1] + start, row * values.shape[1] + stop], axis=1).ravel()
    if not bounds.size:
        return np.zeros(0, np.int32)
    if bounds[-1] == values.size:
        bounds = bounds[:-1]
    return np.add.reduceat(values.ravel(), bounds, dtype=np.int32)[::2]


def _joined(lines: list[Line]) -> list[Line]:
    """Return the lines with those pieces put together that lie in the same rows, a short gap apart."""
    left = sorted(lines, key=lambda line: line.start - line.stop)
    whole = []
    while left:
        line = left.pop(0)
        for other in sorted(left, key=lambda one: max(one.start - line.stop, line.start - one.stop)):
            gap = max(other.start - line.stop, line.start - other.stop)
            if gap <= min(16, other.stop - other.start) and line.continues(other):
                line = replace(line, start=min(line.start, other.start), stop=max(line.stop, other.stop))
                left.remove(other)
        whole.append(line)
    return whole


def _line(picture: Picture, position: int, start: int, stop: int) -> Line | None:
    """Measure the line a run belongs to; None where it is too faint, too wide or of another color."""
    trim = 3 if stop - start > 12 else 1 if stop - start > 4 else 0
    first = max(0, position - 10)
    patch = picture.ink[first : position + 11, start + trim : stop - trim]
    # the sides a short one meets fill much of its neighborhood: what most of the columns agree on is the line itself
    profile = patch.mean(axis=1) if stop - start > 40 else np.sort(patch, axis=1)[:, int(0.3 * (patch.shape[1] - 1))]
    peak = max(range(max(0, position - 2 - first), min(len(profile), position + 3 - first)), key=profile.__getitem__)
    level = float(profile[peak])
    near, far = peak, peak + 1
    while near > 0 and profile[near - 1] > level / 2:
        near -= 1
    while far < len(profile) and profile[far] > level / 2:
        far += 1
    if level < _FAINTEST or far - near > 9:
        return None
    near, far, peak = near + first, far + first, peak + first
    band = picture.ink[near:far].max(axis=0)
    dark = band > 0.3 * level
    start, stop = _grown(dark, start, stop)
    green, spread = color_of([(picture.excess[peak, start:stop], picture.luma[peak, start:stop])])
    if green < 0 and spread > 20:
        return None
    beside = np.maximum(picture.ink[max(0, near - 4)], picture.ink[min(len(picture.ink) - 1, far + 3)])
    return Line(peak, start, stop, near, far, level, _sums(band), _sums(dark), _sums(band - beside > 0.5 * level))


def color_of(stretches: list[tuple[Map, Map]]) -> tuple[float, float]:
    """Return the median excess of green along stretches of line, and the spread of the middle 80 % of their luma."""
    excess = np.sort(np.concatenate([stretch[0] for stretch in stretches]))
    luma = np.sort(np.concatenate([stretch[1] for stretch in stretches]))
    last = len(luma) - 1
    return float(excess[last // 2]), float(luma[round(0.9 * last)] - luma[round(0.1 * last)])


def _sums(values: NDArray[Any]) -> NDArray[np.int64]:
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _grown(dark: NDArray[np.bool_], start: int, stop: int) -> tuple[int, int]:
    """Return where the run of dark pixels that holds the middle of a piece begins and ends."""
    found = np.flatnonzero(dark)
    breaks = np.flatnonzero(np.diff(found) > 4)  # gaps of up to 3 are closed
    first = np.concatenate([found[:1], found[breaks + 1]])
    last = np.concatenate([found[breaks], found[-1:]]) + 1
    at = int(np.searchsorted(last, (start + stop) // 2, side="right"))
    if at == len(first) or first[at] > (start + stop) // 2:
        return start, stop
    return int(first[at]), int(last[at])


def _ridge(ink: Map) -> Map:
    """Return what stands out across the rows, smoothed a little along them."""
    wide = np.pad(ink, ((0, 0), (1, 1)), mode="edge")
    smooth = wide[:, :-2] + wide[:, 1:-1]
    smooth += wide[:, 2:]
    smooth //= np.int16(3)
    span = min(_WIDEST_PX, len(smooth))
    smooth -= _running(np.maximum, _padded(_running(np.minimum, smooth, span), span - 1), span)
    return smooth


def _opened(values: Map) -> Map:
    """Return the grey opening by a square: what is left of a map without anything thinner than a line."""
    spans = [min(_WIDEST_PX, side) for side in values.shape]
    for span in spans:
        values = np.ascontiguousarray(_running(np.minimum, values, span).T)
    for span in spans:
        values = np.ascontiguousarray(_running(np.maximum, _padded(values, span - 1), span).T)
    return values


def _padded(values: Map, rows: int) -> Map:
    return np.pad(values, ((rows, rows), (0, 0)), constant_values=np.iinfo(np.int16).min)


def _running(op: Callable[[Any, Any], Any], values: Any, span: int) -> Any:
    """Return the running minimum or maximum of `span` rows, of whole windows only."""
    done = 1
    while done < span:
        step = min(done, span - done)
        values = op(values[:-step], values[step:])
        done += step
    return values


def _runs(mask: NDArray[np.bool_]) -> tuple[Index, Index, Index]:
    """Return row, start and stop of the runs along rows that are long enough, gaps of up to 3 closed."""
    long = _running(np.logical_and, _closed(np.ascontiguousarray(mask.T)), _RUN_PX)
    edges = np.pad(np.ascontiguousarray(long.T), ((0, 0), (1, 1)))
    width = edges.shape[1]
    begins = np.flatnonzero(edges.ravel()[1:] & ~edges.ravel()[:-1])
    ends = np.flatnonzero(~edges.ravel()[1:] & edges.ravel()[:-1])
    return begins // width, begins % width, ends % width + _RUN_PX - 1


def _closed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask with gaps of up to 3 rows filled."""
    wide = _running(np.logical_or, np.pad(mask, ((6, 6), (0, 0))), 4)
    closed: NDArray[np.bool_] = _running(np.logical_and, wide, 4)[3 : 3 + len(mask)]
    return closed
