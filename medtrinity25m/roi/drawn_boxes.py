"""Green rectangles that somebody drew into a picture, found again as boxes.

The published MedTrinity-25M images carry their regions only as such rectangles: PIL's `draw.rectangle(outline=…)` in
`green` (0, 128, 0) or a brighter one, 1 to 4 pixels wide, then JPEG with halved color resolution. No coordinates came
with them.

The box returned is the **outer extent of the line**, half-open: `draw.rectangle([x0, y0, x1, y1])` comes back as
`(x0, y0, x1 + 1, y1 + 1)` whatever its width, because PIL draws a wide line inwards. Where a box leaves the picture,
its box ends at the picture's edge. `tests/test_convert.py` measures how often each side is met within 2 pixels.

**Why** luma and color are used together: JPEG keeps the brightness of a line sharp and blurs its color over several
pixels (at quality 60 the color of a dark line 1 pixel wide keeps a tenth of its strength), and a line drawn in one
color has one brightness along its whole length, which tissue has not. Color alone could not tell two lines 8 pixels
apart; the sides of boxes on stained tissue stayed unfound without a comparison with what surrounds them, because
pink and green make gray; and a threshold on color alone, as users of the release have it, finds boxes in one of
three clean pictures of stained tissue or power Doppler.

What it does not find, or cannot know:

* a line 1 pixel wide of (0, 128, 0) after JPEG below quality 75, one in ten times;
* a box whose hole is under 6 pixels, one in ten times;
* two lines side by side less than about 8 pixels apart, read as one;
* a box seen only as two parallel lines, from border to border;
* which boxes were meant where lines coincide: two boxes that share a whole side are read as their union, and boxes
  that share two sides can be paired in several ways;
* whether software drew a green frame for another purpose: a scanner's own green box is a box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.roi.drawn_frames import Sheet, explained_share, islands
from medtrinity25m.roi.drawn_lines import SHORTEST_PX, Picture, find_lines, pictures
from medtrinity25m.triplet import XYXY

_LEAST_SHARE = 0.2  # of strong ink that boxes explain: 99 in 100 drawings of boxes have more, text and grids less


def drawn_boxes(pixels: NDArray[np.uint8]) -> tuple[XYXY, ...]:
    """Return the green rectangles drawn into a picture, sorted; none for a gray one.

    Args:
        pixels: (H, W, 3) or (H, W) uint8.

    Returns:
        Outer extents of the lines, integer half-open `xyxy`, by left, upper, right, lower edge.
    """
    if pixels.ndim == 2 or min(pixels.shape[:2]) < SHORTEST_PX:
        return ()
    _, boxes = max((_boxes_in(picture) for picture in pictures(pixels)), key=lambda one: one[0], default=(0.0, []))
    return tuple(sorted(boxes))


def _boxes_in(picture: Picture) -> tuple[float, list[XYXY]]:
    """Return how strong the boxes of one kind of green are altogether, and the boxes."""
    rows = find_lines(picture)
    columns = find_lines(picture.turned()) if rows else []
    chosen = Sheet(picture, rows, columns).select() if columns else []
    boxes = [frame.box for frame in chosen]
    small = islands(picture, boxes, max((frame.level for frame in chosen), default=0.0))
    boxes += small
    if explained_share(picture, boxes) < _LEAST_SHARE:
        return 0.0, []
    return sum(frame.strength for frame in chosen) + sum(small.values()), boxes
