"""Green rectangles that somebody drew into a picture, found again as boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrinity25m.triplet import XYXY

Map = NDArray[np.int16]

LUMAS = (75, 148)
LUMA_REACH = 50
WIDEST_PX = 15
SHORTEST_PX = 7
SHORTEST_RUN_PX = 4
ISLE_PX = 3
MOST_TRIED = 300
FAINTEST = 8
REACH_PX = 5
MOST_LINES = 60


class _Line(NamedTuple):
    """One straight piece of line; `near` and `far` are its half-open extent across, `start` and `stop` along."""

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
        return float(self.total[stop] - self.total[start]) / max(1, stop - start)

    def coverage(self, start: int, stop: int) -> float:
        return float(self.covered[stop] - self.covered[start]) / max(1, stop - start)

    def continues(self, other: _Line) -> bool:
        """Say whether two pieces lie in the same rows and are about as strong."""
        same = abs(self.near - other.near) <= 1 and abs(self.far - other.far) <= 1
        return same and 0.5 < self.level / other.level < 2

    def firmness(self, start: int, stop: int) -> float:
        trim = min(4, (stop - start) // 4)
        return float(self.firm[stop - trim] - self.firm[start + trim]) / (stop - start - 2 * trim)

    def beyond(self, other: _Line, step: int) -> tuple[int, int]:
        """Return the stretch of this line shortly before (`step` -1) or after (1) a line across it."""
        if step < 0:
            return max(0, other.near - 2 * REACH_PX - 1), max(0, other.near - 3)
        last = len(self.firm) - 1
        return min(last, other.far + 3), min(last, other.far + 2 * REACH_PX + 1)

    def runs_on(self, other: _Line, step: int) -> bool:
        """Say whether this line goes on beyond a line across it, backward or forward."""
        start, stop = self.beyond(other, step)
        return stop - start > 2 and float(self.firm[stop] - self.firm[start]) > 0.6 * (stop - start)


_Side = tuple[tuple[str, int], _Line, int, int]


class _Candidate(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int


def drawn_boxes(pixels: NDArray[np.uint8]) -> tuple[XYXY, ...]:
    if pixels.ndim == 2 or min(pixels.shape[:2]) < SHORTEST_PX:
        return ()
    green = _greenness(pixels)
    if np.count_nonzero(green > FAINTEST) < 2 * SHORTEST_PX:
        return ()
    luma = _luma(pixels)
    found = [_boxes_of_luma(green, luma, level) for level in LUMAS]
    return max(found, key=lambda one: one[0])[1]


def _boxes_of_luma(green: Map, luma: Map, level: int) -> tuple[float, tuple[XYXY, ...]]:
    """Return the boxes drawn in a green of about one luma, and how strong they stand out together."""
    ink = _ink(green, luma, level)
    rows = _lines(ink)
    columns = _lines(np.ascontiguousarray(ink.T)) if rows else []
    sheet = _Sheet(ink, rows, columns)
    chosen = sheet.select() if columns else []
    boxes = [sheet.box(one) for one in chosen]
    small = _small_frames(ink, boxes, max((sheet.level(one) for one in chosen), default=0.0))
    strength = sum(sheet.strength(one) for one in chosen) + sum(weight for _, weight in small)
    return strength, (*boxes, *(box for box, _ in small))


def _small_frames(ink: Map, boxes: list[XYXY], brightest: float) -> list[tuple[XYXY, float]]:
    """Return the frames too small for straight pieces of line to tell, each an island of ink, with its strength."""
    rest = ink.copy()
    for x0, y0, x1, y1 in boxes:
        for rows, columns in (
            (slice(y0, y0 + 5), slice(x0, x1)),
            (slice(y1 - 5, y1), slice(x0, x1)),
            (slice(y0, y1), slice(x0, x0 + 5)),
            (slice(y0, y1), slice(x1 - 5, x1)),
        ):
            rest[_wider(rows, ISLE_PX), _wider(columns, ISLE_PX)] = 0
    threshold = max(FAINTEST, 0.35 * (brightest or float(rest.max())))
    labels, _ = ndimage.label(rest > threshold, structure=np.ones((3, 3)))
    found = []
    for rows, columns in ndimage.find_objects(labels):
        if min(rows.stop - rows.start, columns.stop - columns.start) > 32:
            continue
        tight = _tightened(rest, rows, columns)
        if tight is None:
            continue
        rows, columns = tight
        height, width = rows.stop - rows.start, columns.stop - columns.start
        level = _frame_level(rest[tight])
        inside = np.count_nonzero(rest[tight] > level / 2)
        around = np.count_nonzero(rest[_wider(rows, 6), _wider(columns, 6)] > level / 2) - inside
        if level > max(threshold, 0.42 * brightest) and around <= 0.25 * inside:
            found.append(((columns.start, rows.start, columns.stop, rows.stop), level * 2 * (height + width)))
    return found


def _tightened(ink: Map, rows: slice, columns: slice) -> tuple[slice, slice] | None:
    """Return an island's rows and columns without the blur around it, None for what is smaller than a frame."""
    patch = ink[rows, columns]
    if min(patch.shape) < SHORTEST_PX:
        return None
    solid = patch > 0.5 * np.quantile(patch, 0.9)
    tight = []
    for span, share in ((rows, solid.mean(axis=1)), (columns, solid.mean(axis=0))):
        full = np.flatnonzero(share >= 0.7)
        if full.size < 2 or full[-1] - full[0] + 1 < SHORTEST_PX:
            return None
        tight.append(slice(span.start + int(full[0]), span.start + int(full[-1]) + 1))
    return tight[0], tight[1]


def _wider(span: slice, margin: int) -> slice:
    return slice(max(0, span.start - margin), span.stop + margin)


def _frame_level(patch: Map) -> float:
    """Return how strong a frame fills a patch to its edges and leaves its middle empty, 0 for anything else."""
    levels = []
    for turned in (patch, patch[::-1], patch.T, patch.T[::-1]):
        edge = turned[:3].max(axis=0)
        levels.append(float(np.median(edge)))
        if np.mean(turned[:2].max(axis=0) > 0.35 * levels[-1]) < 0.85:
            return 0
    level = min(levels)
    height, width = patch.shape
    middle = patch[height // 3 : height - height // 3, width // 3 : width - width // 3]
    hole = np.quantile(middle, 0.5 if min(height, width) < 20 else 0.8)
    return level if level > 0.5 * max(levels) and hole < 0.5 * level else 0


def _greenness(pixels: NDArray[np.uint8]) -> Map:
    """Return how much greener than its surroundings each pixel of a thin thing is, (H, W), 0 to 96."""
    color = pixels.astype(np.int16)
    excess = color[..., 1] - np.maximum(color[..., 0], color[..., 2])
    excess -= _open_square(excess)
    excess[color[..., 0] > _luma(pixels) + 45] = 0
    return np.clip(excess, 0, 96, out=excess)


def _open_square(values: Map) -> Map:
    spans = [min(WIDEST_PX, side) for side in values.shape]
    for span in spans:
        values = np.ascontiguousarray(_running(np.minimum, values, span).T)
    for span in spans:
        values = np.ascontiguousarray(_running(np.maximum, _padded(values, span - 1), span).T)
    return values


def _open_columns(values: Map) -> Map:
    span = min(WIDEST_PX, len(values))
    return _running(np.maximum, _padded(_running(np.minimum, values, span), span - 1), span)


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


def _ink(green: Map, luma: Map, level: int) -> Map:
    closeness = np.abs(luma - np.int16(level))
    np.subtract(LUMA_REACH, closeness, out=closeness)
    np.maximum(closeness, 0, out=closeness)
    closeness *= green
    closeness //= np.int16(LUMA_REACH)
    return closeness


def _luma(pixels: NDArray[np.uint8]) -> Map:
    red, green, blue = (pixels[..., channel].astype(np.uint16) for channel in range(3))
    return ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.int16)


def _lines(ink: Map) -> list[_Line]:
    """Return the straight pieces of line along the rows of a map, the strongest of each place."""
    ridge = _ridge(ink)
    mask = ridge > FAINTEST
    if not mask.any():
        return []
    mask &= 4 * ridge >= 3 * _running(np.maximum, np.pad(ridge, ((2, 2), (0, 0))), 5)
    row, start, stop = _runs(mask)
    sums = np.zeros((len(ridge), ridge.shape[1] + 1), np.int32)
    np.cumsum(ridge, axis=1, out=sums[:, 1:])
    weight = sums[row, stop] - sums[row, start]
    order = np.argsort(-weight, kind="stable")
    lines: list[_Line] = []
    taken = np.zeros((MOST_TRIED + 1, 3), np.intp)
    for tried, i in enumerate(order[:MOST_TRIED]):
        known = taken[:tried]
        shared = np.minimum(stop[i], known[:, 2]) - np.maximum(start[i], known[:, 1])
        if np.any((np.abs(row[i] - known[:, 0]) <= 4) & (2 * shared > stop[i] - start[i])):
            continue
        line = _line(ink, int(row[i]), int(start[i]), int(stop[i]))
        taken[tried] = (row[i], start[i], stop[i]) if line is None else (line.position, line.start, line.stop)
        if line is not None and line.stop - line.start >= SHORTEST_PX and not any(_echoes(line, one) for one in lines):
            lines.append(line)
        if len(lines) >= MOST_LINES:
            break
    return _joined(lines)


def _joined(lines: list[_Line]) -> list[_Line]:
    """Return the lines with pieces put together that lie in one row, a short gap apart."""
    left = sorted(lines, key=lambda line: line.start - line.stop)
    whole = []
    while left:
        line = left.pop(0)
        for other in sorted(left, key=lambda one: max(one.start - line.stop, line.start - one.stop)):
            gap = max(other.start - line.stop, line.start - other.stop)
            if gap <= min(16, other.stop - other.start) and line.continues(other):
                line = line._replace(start=min(line.start, other.start), stop=max(line.stop, other.stop))
                left.remove(other)
        whole.append(line)
    return whole


def _echoes(line: _Line, other: _Line) -> bool:
    """Say whether a faint line runs so close beside a strong one that compression alone explains it."""
    beside = min(line.stop, other.stop) - max(line.start, other.start) > 0.5 * (line.stop - line.start)
    return beside and abs(line.position - other.position) <= 9 and line.level < 0.6 * other.level


def _ridge(ink: Map) -> Map:
    wide = np.pad(ink, ((0, 0), (1, 1)), mode="edge")
    width = ink.shape[1]
    smooth = wide[:, :width].copy()
    for step in range(1, 3):
        smooth += wide[:, step : step + width]
    smooth //= np.int16(3)
    smooth -= _open_columns(smooth)
    return smooth


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], ...]:
    """Return row, start and stop of the runs of at least SHORTEST_PX, gaps of up to 3 closed."""
    long = _running(np.logical_and, _closed(mask.T, 3), SHORTEST_RUN_PX).T
    edges = np.diff(np.pad(long, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(edges == 1)
    stop = np.nonzero(edges == -1)[1] + SHORTEST_RUN_PX - 1
    return row, start, stop


def _closed(mask: NDArray[np.bool_], gap: int) -> NDArray[np.bool_]:
    """Return a mask with gaps of up to `gap` along axis 0 filled."""
    wide = _running(np.logical_or, np.pad(mask, ((2 * gap, 2 * gap), *((0, 0),) * (mask.ndim - 1))), gap + 1)
    return _running(np.logical_and, wide, gap + 1)[gap : gap + len(mask)]


def _line(ink: Map, position: int, start: int, stop: int) -> _Line | None:
    trim = 3 if stop - start > 12 else 1
    first = max(0, position - 10)
    patch = ink[first : position + 11, start + trim : stop - trim]
    profile = patch.mean(axis=1) if stop - start > 40 else np.quantile(patch, 0.3, axis=1)
    peak = max(range(max(0, position - 2 - first), min(len(profile), position + 3 - first)), key=lambda k: profile[k])
    level = float(profile[peak])
    near, far = peak, peak + 1
    while near > 0 and profile[near - 1] > level / 2:
        near -= 1
    while far < len(profile) and profile[far] > level / 2:
        far += 1
    if level < FAINTEST or far - near > 9:
        return None
    near, far = near + first, far + first
    band = ink[near:far].max(axis=0).astype(np.int64)
    total = np.concatenate([[0], np.cumsum(band)])
    dark = band > 0.3 * level
    start, stop = _grown(dark, start, stop)
    covered = np.concatenate([[0], np.cumsum(dark)])
    beside = np.maximum(ink[max(0, near - 4)], ink[min(len(ink) - 1, far + 3)])
    firm = np.concatenate([[0], np.cumsum(band - beside > 0.5 * level)])
    return _Line(peak + first, start, stop, near, far, level, total, covered, firm)


def _grown(dark: NDArray[np.bool_], start: int, stop: int) -> tuple[int, int]:
    """Return where the run of dark pixels that holds the middle of a piece begins and ends."""
    closed = _closed(dark, 3)
    light = np.flatnonzero(~closed)
    at = int(np.searchsorted(light, (start + stop) // 2))
    first = int(light[at - 1]) + 1 if at else 0
    last = int(light[at]) if at < light.size else len(dark)
    return (first, last) if first < last else (start, stop)


def _border(position: int, length: int) -> _Line:
    edge = max(0, position)
    none = np.zeros(length + 1, np.int64)
    return _Line(position, 0, length, edge, edge, 0.0, none, none, none, border=True)


class _Sheet:
    """The lines of one picture, and the rectangles they make."""

    def __init__(self, ink: Map, rows: list[_Line], columns: list[_Line]) -> None:
        self.ink = ink
        height, width = ink.shape
        self.rows = [*rows, _border(-1, width), _border(height, width)]
        self.columns = [*columns, _border(-1, height), _border(width, height)]
        self.height, self.width = height, width

    def box(self, one: _Candidate) -> XYXY:
        top, bottom, left, right = self.lines(one)
        return left.near, top.near, right.far, bottom.far

    def lines(self, one: _Candidate) -> tuple[_Line, _Line, _Line, _Line]:
        return self.rows[one.top], self.rows[one.bottom], self.columns[one.left], self.columns[one.right]

    def sides(self, one: _Candidate) -> Iterator[_Side]:
        """Yield key, line, start and stop of the sides that are drawn."""
        x0, y0, x1, y1 = self.box(one)
        for key, line, start, stop in (
            (("row", one.top), self.rows[one.top], x0, x1),
            (("row", one.bottom), self.rows[one.bottom], x0, x1),
            (("column", one.left), self.columns[one.left], y0, y1),
            (("column", one.right), self.columns[one.right], y0, y1),
        ):
            if not line.border:
                yield key, line, start, stop

    def strength(self, one: _Candidate) -> float:
        return sum(line.mean(start, stop) * (stop - start) for _, line, start, stop in self.sides(one))

    def select(self) -> list[_Candidate]:
        ranked = sorted((self.rank(one), one) for one in self.candidates() if self.drawn(one))
        left = [one for rank, one in ranked if rank[0] <= 1]
        while True:
            chosen, explained = self.explain(left)
            brightest = max((self.level(one) for one in chosen), default=0.0)
            loose = {one for one in chosen if self.faint(one, brightest) or self.leaves_ink(one, explained)}
            if not loose:
                return chosen
            left = [one for one in left if one not in loose]

    def level(self, one: _Candidate) -> float:
        means = [line.mean(start, stop) for _, line, start, stop in self.sides(one)]
        return sum(means) / len(means)

    def faint(self, one: _Candidate, brightest: float) -> bool:
        crossings, branches, borders, _ = self.rank(one)
        sides = [(line.mean(start, stop), line.firmness(start, stop)) for _, line, start, stop in self.sides(one)]
        firm = min(firm for _, firm in sides)
        need = 0.75 if borders == 2 else 0.6 if firm < 0.4 else 0.5 if crossings + branches else 0.28 if firm > 0.9 else 0.42
        return min(mean for mean, _ in sides) < need * brightest

    def candidates(self) -> Iterator[_Candidate]:
        row, column = self.rows, self.columns
        meets = np.array([[self.meet(r, c) for c in column] for r in row])
        by_x = sorted(range(len(column)), key=lambda i: column[i].position)
        for left, right in combinations(by_x, 2):
            if column[right].position - column[left].position < 5 or (column[left].border and column[right].border):
                continue
            both = sorted(np.flatnonzero(meets[:, left] & meets[:, right]), key=lambda i: row[i].position)
            for top, bottom in combinations(both, 2):
                borders = sum(line.border for line in (row[top], row[bottom], column[left], column[right]))
                if (
                    row[bottom].position - row[top].position >= 5
                    and not (row[top].border and row[bottom].border)
                    and borders <= 2
                ):
                    yield _Candidate(int(top), int(bottom), left, right)

    @staticmethod
    def meet(row: _Line, column: _Line) -> bool:
        return (
            row.start - REACH_PX <= column.position <= row.stop + REACH_PX
            and column.start - REACH_PX <= row.position <= column.stop + REACH_PX
        )

    def drawn(self, one: _Candidate) -> bool:
        levels = []
        cut = any(line.border for line in self.lines(one))
        for key, line, start, stop in self.sides(one):
            need = 0.93 if cut else 0.85 if stop - start > 32 else 0.75
            if stop - start < SHORTEST_PX or line.coverage(start, stop) < need:
                return False
            if not self.reaches(key, one, line):
                return False
            levels.append(line.mean(start, stop))
        return min(levels) > 0.35 * max(levels) and self.hollow(one)

    def reaches(self, key: tuple[str, int], one: _Candidate, line: _Line) -> bool:
        """Say whether a side is drawn right up to the lines across its ends."""
        top, bottom, left, right = self.lines(one)
        first, last = (left, right) if key[0] == "row" else (top, bottom)
        return (
            first.border or line.coverage(first.far, min(first.far + 6, last.near)) >= 0.5
        ) and (last.border or line.coverage(max(last.near - 6, first.far), last.near) >= 0.5)

    def hollow(self, one: _Candidate) -> bool:
        """Say whether the ink ends on both sides of every line, inside the box and outside."""
        top, bottom, left, right = self.lines(one)
        for ink, line, start, stop, before, after in (
            (self.ink, top, left.far, right.near, 6, min(6, (bottom.near - top.far))),
            (self.ink, bottom, left.far, right.near, min(6, bottom.near - top.far), 6),
            (self.ink.T, left, top.far, bottom.near, 6, min(6, right.near - left.far)),
            (self.ink.T, right, top.far, bottom.near, min(6, right.near - left.far), 6),
        ):
            if line.border:
                continue
            if stop - start < 2 or before < 2 or after < 2:
                return False
            level = line.mean(start, stop)
            for flank in (
                ink[max(0, line.near - before) : line.near, start:stop],
                ink[line.far : line.far + after, start:stop],
            ):
                if len(flank) > 1 and flank.mean(axis=1).min() > 0.6 * level:
                    return False
        return True

    def rank(self, one: _Candidate) -> tuple[int, int, int, int]:
        """Rank by how plainly the corners end there: crossings, then branches, then sides left to the border."""
        top, bottom, left, right = self.lines(one)
        open_ends = [
            self.open_ends(top, -1, left, -1),
            self.open_ends(top, 1, right, -1),
            self.open_ends(bottom, -1, left, 1),
            self.open_ends(bottom, 1, right, 1),
        ]
        borders = sum(line.border for line in (top, bottom, left, right))
        plain = min(line.mean(start, stop) * line.coverage(start, stop) for _, line, start, stop in self.sides(one))
        return open_ends.count(2), open_ends.count(1) + borders, borders, -round(plain)

    @staticmethod
    def open_ends(row: _Line, row_step: int, column: _Line, column_step: int) -> int:
        """Count the lines of a corner that run on beyond it."""
        if row.border or column.border:
            return 0
        return int(row.runs_on(column, row_step)) + int(column.runs_on(row, column_step))

    def explain(self, ranked: list[_Candidate]) -> tuple[list[_Candidate], dict[tuple[str, int], NDArray[np.bool_]]]:
        chosen: list[_Candidate] = []
        brightest = 0.0
        explained: dict[tuple[str, int], NDArray[np.bool_]] = {}
        for one in ranked:
            sides = list(self.sides(one))
            new = [side for side in sides if side[0] not in explained or explained[side[0]][side[2] : side[3]].mean() < 0.4]
            if len(new) < 2 or (len(new) < len(sides) and not self.adds(new, sides, brightest)):
                continue
            box = self.box(one)
            if any(max(abs(a - b) for a, b in zip(box, self.box(other), strict=True)) <= 6 for other in chosen):
                continue
            chosen.append(one)
            brightest = max(brightest, self.level(one))
            for key, _, start, stop in sides:
                known = explained.setdefault(key, np.zeros(max(self.height, self.width), np.bool_))
                known[max(0, start - REACH_PX) : stop + REACH_PX] = True
        return chosen, explained

    @staticmethod
    def adds(new: list[_Side], sides: list[_Side], brightest: float) -> bool:
        """Say whether the sides that no other box explains are drawn, rather than texture between two drawn lines."""
        share = sum(stop - start for _, _, start, stop in new) / sum(stop - start for _, _, start, stop in sides)
        firm = min(line.firmness(start, stop) for _, line, start, stop in new)
        level = min(line.mean(start, stop) for _, line, start, stop in new)
        need = 0.85 if share < 0.3 else 0.55 if firm >= 0.9 else 0.7
        return (
            (share >= 0.45 or firm >= 0.6)
            and level >= need * brightest
            and min(line.coverage(start, stop) for _, line, start, stop in new) >= 0.9
        )

    def leaves_ink(self, one: _Candidate, explained: dict[tuple[str, int], NDArray[np.bool_]]) -> bool:
        """Say whether a side runs on beyond its corner where no chosen box explains it."""
        top, bottom, left, right = self.lines(one)
        for key, line, _, _ in self.sides(one):
            for other, step in zip((left, right) if key[0] == "row" else (top, bottom), (-1, 1), strict=True):
                start, stop = line.beyond(other, step)
                loose = line.firm[start + 1 : stop + 1] > line.firm[start:stop]
                loose &= ~explained[key][start:stop]
                if not other.border and np.count_nonzero(loose) > 0.6 * (stop - start) and stop - start > 2:
                    return True
        return False
