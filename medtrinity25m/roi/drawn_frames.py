"""Rectangles that straight green lines make, chosen so that together they explain the lines.

Any two crossing boxes have a third rectangle between them, a table of lines has dozens. A rectangle is believed by its
corners: a drawn one has both lines end at each corner. Where a line runs on, another chosen box must explain that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.roi.drawn_lines import REACH_PX, SHORTEST_PX, Line, Map, Picture, border, color_of
from medtrinity25m.triplet import XYXY

_GREENEST_TISSUE = 6  # median excess of green along a side; clean pictures of tissue and Doppler stay below
_LARGEST_ISLAND_PX = 32
_LONG_PX = 100  # sides this long altogether are no letter and no accident of texture

Explained = dict[Line, NDArray[np.bool_]]
Side = tuple[Line, int, int]


@dataclass(frozen=True, eq=False)
class Frame:
    """A rectangle between four lines, up to two of which may be edges of the picture."""

    top: Line
    bottom: Line
    left: Line
    right: Line

    @cached_property
    def box(self) -> XYXY:
        """Outer extent of the lines."""
        return self.left.near, self.top.near, self.right.far, self.bottom.far

    @cached_property
    def lines(self) -> tuple[Line, Line, Line, Line]:
        """Top, bottom, left, right."""
        return self.top, self.bottom, self.left, self.right

    @cached_property
    def sides(self) -> list[Side]:
        """Line, start and stop of the sides that are drawn."""
        x0, y0, x1, y1 = self.box
        every = ((self.top, x0, x1), (self.bottom, x0, x1), (self.left, y0, y1), (self.right, y0, y1))
        return [side for side in every if not side[0].border]

    @cached_property
    def levels(self) -> list[float]:
        """Mean ink of each side."""
        return [line.mean(start, stop) for line, start, stop in self.sides]

    @property
    def length(self) -> int:
        """Length of the sides altogether, in pixels."""
        return sum(stop - start for _, start, stop in self.sides)

    @property
    def level(self) -> float:
        """Mean ink of the sides."""
        return sum(self.levels) / len(self.levels)

    @property
    def strength(self) -> float:
        """Ink of the sides altogether."""
        return sum(level * (stop - start) for level, (_, start, stop) in zip(self.levels, self.sides, strict=True))

    @cached_property
    def rank(self) -> tuple[int, int, int, int]:
        """How plainly the corners end there: crossings, branches, sides left to the border, faintness."""
        corners = [
            int(row.runs_on(column, across)) + int(column.runs_on(row, along))
            for row, along in ((self.top, -1), (self.bottom, 1))
            for column, across in ((self.left, -1), (self.right, 1))
            if not (row.border or column.border)
        ]
        borders = sum(line.border for line in self.lines)
        plain = min(line.mean(start, stop) * line.coverage(start, stop) for line, start, stop in self.sides)
        return corners.count(2), corners.count(1) + borders, borders, -round(plain)

    def ends(self, line: Line) -> tuple[Line, Line]:
        """Return the lines across the ends of a side."""
        return (self.left, self.right) if line is self.top or line is self.bottom else (self.top, self.bottom)

    def continuous(self) -> bool:
        """Say whether every side is drawn from end to end and about as strong as the others."""
        if self.right.near - self.left.far < 2 or self.bottom.near - self.top.far < 2:
            return False
        for line, start, stop in self.sides:
            need = 0.93 if self.rank[2] else 0.85 if stop - start > 32 else 0.75
            if stop - start < SHORTEST_PX or line.coverage(start, stop) < need:
                return False
            first, last = self.ends(line)
            if not first.border and line.coverage(first.far, min(first.far + 6, last.near)) < 0.5:
                return False
            if not last.border and line.coverage(max(last.near - 6, first.far), last.near) < 0.5:
                return False
        return min(self.levels) > 0.35 * max(self.levels)

    def cornered(self) -> bool:
        """Say whether enough lines end at the corners: crossing lines make rectangles that nobody drew."""
        crossings, branches, borders, _ = self.rank
        return crossings == 0 and branches <= borders + (borders == 1) if borders else crossings <= 1

    def like(self, other: Frame) -> bool:
        """Say whether two frames differ by no more than the bleeding of color explains."""
        return max(abs(a - b) for a, b in zip(self.box, other.box, strict=True)) <= REACH_PX + 1


class Sheet:
    """The lines of one picture, and the frames they make."""

    def __init__(self, picture: Picture, rows: list[Line], columns: list[Line]) -> None:
        height, width = picture.ink.shape
        self.rows = [border(-1, width), *sorted(rows, key=lambda line: line.position), border(height, width)]
        self.columns = [border(-1, height), *sorted(columns, key=lambda line: line.position), border(width, height)]
        self.picture = picture

    def select(self) -> list[Frame]:
        """Return the frames that explain the lines, the plainest first."""
        left = [frame for frame in self.frames() if frame.continuous() and frame.cornered()]
        left = [frame for frame in left if self.hollow(frame) and self.square(frame) and self.green(frame)]
        left.sort(key=lambda frame: (frame.rank, frame.box))
        while True:
            chosen, explained = _explain(left)
            brightest = max((frame.level for frame in chosen), default=0.0)
            loose = [frame for frame in chosen if _faint(frame, brightest) or _leaves_ink(frame, explained)]
            if not loose:
                return _split(chosen, left)
            left.remove(loose[-1])  # the least plain: without it the others may hold

    def frames(self) -> Iterator[Frame]:
        """Yield every rectangle whose lines meet, the border standing for one side, or for two at a corner."""
        met = [[row for row in self.rows if _meet(row, column)] for column in self.columns]
        for left, right in combinations(range(len(self.columns)), 2):
            first, last = self.columns[left], self.columns[right]
            if last.position - first.position < REACH_PX or (first.border and last.border):
                continue
            both = [row for row in met[left] if row in met[right]]
            for top, bottom in combinations(both, 2):
                if bottom.position - top.position >= REACH_PX and not (top.border and bottom.border):
                    yield Frame(top, bottom, first, last)

    def hollow(self, frame: Frame) -> bool:
        """Say whether ink and green end on both sides of every line, inside the box and outside."""
        (x0, x1), (y0, y1) = (frame.left.far, frame.right.near), (frame.top.far, frame.bottom.near)
        deep, wide = min(6, y1 - y0), min(6, x1 - x0)
        ink, excess = self.picture.ink, self.picture.excess
        for turned, line, start, stop, before, after in (
            ((ink, excess), frame.top, x0, x1, 6, deep),
            ((ink, excess), frame.bottom, x0, x1, deep, 6),
            ((ink.T, excess.T), frame.left, y0, y1, 6, wide),
            ((ink.T, excess.T), frame.right, y0, y1, wide, 6),
        ):
            if line.border:
                continue
            for values in turned:
                middle = values[max(0, line.position - 1) : line.position + 2, start:stop].max(axis=0).mean()
                for flank in (
                    values[max(0, line.near - before) : line.near, start:stop],
                    values[line.far : line.far + after, start:stop],
                ):
                    if len(flank) > 1 and flank.mean(axis=1).min() > 0.6 * max(middle, 20):
                        return False
        return True

    def square(self, frame: Frame) -> bool:
        """Say whether the corners are drawn, as those of circles, letters and rounded frames are not."""
        return self.corners(frame) >= 0.4

    def corners(self, frame: Frame) -> float:
        """Return how strong the faintest corner is beside its lines; 1 or so for a drawn box."""
        faintest = 1.0
        for row in (frame.top, frame.bottom):
            for column in (frame.left, frame.right):
                if row.border or column.border:
                    continue
                rows, columns = slice(row.near, row.far), slice(column.near, column.far)
                if min(row.far - row.near, column.far - column.near) == 1:
                    corner = float(self.picture.ink[_wider(rows, 1), _wider(columns, 1)].max())
                else:
                    corner = float(self.picture.ink[rows, columns].mean())
                faintest = min(faintest, corner / min(row.level, column.level))
        return faintest

    def green(self, frame: Frame) -> bool:
        """Say whether the sides are green in themselves, or else plainly of one brightness, which tissue is not."""
        stretches = []
        for line, start, stop in frame.sides:
            excess, luma = self.picture.excess, self.picture.luma
            if line in (frame.left, frame.right):
                excess, luma = excess.T, luma.T
            # color bleeds: it may be strongest a row beside the line
            rows = slice(max(0, line.position - 1), line.position + 2)
            stretches.append(
                (excess[rows, start + 2 : stop - 2].max(axis=0), luma[line.position, start + 2 : stop - 2])
            )
        green, spread = color_of(stretches)
        if green >= _GREENEST_TISSUE:
            return spread <= 40
        firm = min(line.firmness(start, stop) for line, start, stop in frame.sides)
        return (spread <= 16 and firm >= 0.7 and frame.length >= _LONG_PX) or (spread <= 12 and min(frame.levels) >= 60)


def _meet(row: Line, column: Line) -> bool:
    return (
        row.start - REACH_PX <= column.position <= row.stop + REACH_PX
        and column.start - REACH_PX <= row.position <= column.stop + REACH_PX
    )


def _explain(ranked: list[Frame]) -> tuple[list[Frame], Explained]:
    """Choose frames, each for lines that no frame before it explains."""
    chosen: list[Frame] = []
    explained: Explained = {}
    brightest = 0.0
    for frame in ranked:
        new = [side for side in frame.sides if side[0] not in explained or _share(explained, side) < 0.4]
        if len(new) < 2 or (len(new) < len(frame.sides) and not _adds(new, frame, brightest)):
            continue
        if any(frame.like(other) for other in chosen):
            continue
        chosen.append(frame)
        brightest = max(brightest, frame.level)
        for line, start, stop in frame.sides:
            known = explained.setdefault(line, np.zeros(len(line.total) - 1, np.bool_))
            known[max(0, start - REACH_PX) : stop + REACH_PX] = True
    return chosen, explained


def _share(explained: Explained, side: Side) -> float:
    line, start, stop = side
    return float(explained[line][start:stop].mean())


def _adds(new: list[Side], frame: Frame, brightest: float) -> bool:
    """Say whether the sides that no other frame explains are drawn, rather than texture between two drawn lines."""
    share = sum(stop - start for _, start, stop in new) / sum(stop - start for _, start, stop in frame.sides)
    firm = min(line.firmness(start, stop) for line, start, stop in new)
    level = min(line.mean(start, stop) for line, start, stop in new)
    need = 0.85 if share < 0.3 else 0.55 if firm >= 0.9 else 0.7
    covered = min(line.coverage(start, stop) for line, start, stop in new) >= 0.9
    return covered and level >= need * brightest and (share >= 0.45 or firm >= 0.6)


def _faint(frame: Frame, brightest: float) -> bool:
    """Say whether a side is fainter than its kind of frame may be beside the brightest one of the picture."""
    crossings, branches, borders, _ = frame.rank
    firm = min(line.firmness(start, stop) for line, start, stop in frame.sides)
    if borders == 2:
        need = 0.75
    elif firm < 0.4:
        need = 0.6
    elif crossings + branches:
        need = 0.5
    else:
        need = 0.28 if firm > 0.9 else 0.42
    return min(frame.levels) < need * brightest


def _leaves_ink(frame: Frame, explained: Explained) -> bool:
    """Say whether sides run on beyond their corners where no chosen frame explains it.

    A long and clear frame may do so once: a neighbor that was not found should not take it along.
    """
    loose = 0
    for line, _, _ in frame.sides:
        for other, step in zip(frame.ends(line), (-1, 1), strict=True):
            start, stop = line.beyond(other, step)
            ink = np.count_nonzero((np.diff(line.firm[start : stop + 1]) > 0) & ~explained[line][start:stop])
            loose += int(not other.border and stop - start > 2 and ink > 0.6 * (stop - start))
    clear = frame.length >= _LONG_PX and min(line.firmness(start, stop) for line, start, stop in frame.sides) >= 0.8
    return loose > int(clear and not frame.rank[2])


def _split(chosen: list[Frame], candidates: list[Frame]) -> list[Frame]:
    """Return the frames, those that a line of no other frame divides from side to side as the two that lie in them."""
    parts: list[Frame] = []
    taken = {line for frame in chosen for line in frame.lines}
    for frame in chosen:
        inner = [part for part in candidates if len({*part.lines} & {*frame.lines}) == 3]
        pair = next(
            (
                pair
                for pair in combinations(inner, 2)
                if len({*pair[0].lines, *pair[1].lines}) == 5
                and {*pair[0].lines, *pair[1].lines} > {*frame.lines}
                and _divided(frame, pair[0], taken)
            ),
            None,
        )
        parts += pair or (frame,)
    return parts


def _divided(frame: Frame, part: Frame, taken: set[Line]) -> bool:
    """Say whether the one side of a part that is not the frame's is drawn as plainly as the frame."""
    line, start, stop = next((side for side in part.sides if side[0] not in frame.lines), (None, 0, 0))
    if line is None or line in taken or line.border:
        return False
    drawn = line.coverage(start, stop) > 0.98 and line.firmness(start, stop) > 0.8
    return drawn and line.mean(start, stop) > 0.85 * frame.level


def islands(picture: Picture, boxes: list[XYXY], brightest: float) -> dict[XYXY, float]:
    """Return frames too small for straight pieces of line to tell, each an island of ink, with its strength.

    `boxes` are known already and `brightest` is the level of the brightest of them, 0 for none.
    """
    rest = picture.ink.copy()
    for box in boxes:
        _erase(rest, box)
    threshold = max(SHORTEST_PX, 0.35 * (brightest or float(rest.max())))
    labels, _ = ndimage.label(rest > threshold, structure=np.ones((3, 3)))
    found = {}
    for place in ndimage.find_objects(labels):
        if not SHORTEST_PX <= min(span.stop - span.start for span in place) <= _LARGEST_ISLAND_PX:
            continue
        tight = _tightened(rest, place)
        if tight is None:
            continue
        rows, columns = tight
        patch = rest[tight]
        level = _frame_level(patch)
        if level <= max(threshold, 0.42 * brightest):
            continue
        inked = patch > level / 2
        around = np.count_nonzero(rest[_wider(rows, 6), _wider(columns, 6)] > level / 2) - np.count_nonzero(inked)
        # letters have neighbors
        if around <= 0.25 * np.count_nonzero(inked) and np.median(picture.excess[tight][inked]) >= _GREENEST_TISSUE:
            found[columns.start, rows.start, columns.stop, rows.stop] = level * 2 * sum(patch.shape)
    return found


def explained_share(picture: Picture, boxes: list[XYXY]) -> float:
    """Return how much of the ink as strong as the boxes' own lies on the lines of the boxes.

    Letters, grids and curves hold a rectangle here and there; what nobody drew as boxes is mostly something else.
    """
    rest = picture.ink.copy()
    for box in boxes:
        _erase(rest, box)
    own = (picture.ink - rest)[picture.ink > rest]
    strong = 0.6 * float(np.quantile(own, 0.75)) if own.size else 0.0
    explained = int(np.count_nonzero(own > strong))
    other = int(np.count_nonzero((rest > strong) & (picture.excess >= _GREENEST_TISSUE)))
    return explained / max(1, explained + other)


def _erase(ink: Map, box: XYXY) -> None:
    """Take the line of a box, with what bled from it, off a map."""
    margin = 3
    x0, y0, x1, y1 = box
    rows, columns = slice(max(0, y0 - margin), y1 + margin), slice(max(0, x0 - margin), x1 + margin)
    for side in (y0, y1 - 5):
        ink[max(0, side - margin) : side + 5 + margin, columns] = 0
    for side in (x0, x1 - 5):
        ink[rows, max(0, side - margin) : side + 5 + margin] = 0


def _wider(span: slice, margin: int) -> slice:
    return slice(max(0, span.start - margin), span.stop + margin)


def _tightened(ink: Map, place: tuple[slice, slice]) -> tuple[slice, slice] | None:
    """Return an island's rows and columns without the blur around it, None for what is smaller than a frame."""
    patch = ink[place]
    solid = patch > 0.5 * np.quantile(patch, 0.9)
    tight = []
    for span, share in zip(place, (solid.mean(axis=1), solid.mean(axis=0)), strict=True):
        full = np.flatnonzero(share >= 0.7)
        if full.size < 2 or full[-1] - full[0] + 1 < SHORTEST_PX:
            return None
        tight.append(slice(span.start + int(full[0]), span.start + int(full[-1]) + 1))
    return tight[0], tight[1]


def _frame_level(patch: Map) -> float:
    """Return how strong a frame fills a patch to its edges and leaves its middle empty, 0 for anything else."""
    levels = []
    for turned in (patch, patch[::-1], patch.T, patch.T[::-1]):
        level = float(np.median(turned[:3].max(axis=0)))
        if np.mean(turned[:2].max(axis=0) > 0.35 * level) < 0.85:
            return 0
        levels.append(level)
    if min(
        patch[rows, columns].max() for rows in (slice(2), slice(-2, None)) for columns in (slice(2), slice(-2, None))
    ) < 0.5 * min(levels):
        return 0
    height, width = patch.shape
    middle = patch[height // 3 : height - height // 3, width // 3 : width - width // 3]
    hole = np.quantile(middle, 0.5 if min(height, width) < 20 else 0.8)
    return min(levels) if min(levels) > 0.5 * max(levels) and hole < 0.5 * min(levels) else 0
