"""How regions lie to one another and to the halves of the image, held against brute force."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medtrinity25m.description import relation
from medtrinity25m.description.scene import Scene
from phantoms import SIDE, ellipse, region

PAIRS = st.tuples(
    arrays.arrays(np.bool_, (9, 11), elements=st.sampled_from([False, False, False, True])),
    arrays.arrays(np.bool_, (9, 11), elements=st.sampled_from([False, False, False, True])),
)


def _squares_apart(one: np.ndarray, other: np.ndarray, spacing: tuple[float, float]) -> float:
    """The smallest distance between the pixels of two masks as areas, pair by pair."""
    return min(
        math.hypot(max(abs(y - v) - 1, 0) * spacing[0], max(abs(x - u) - 1, 0) * spacing[1])
        for y, x in np.argwhere(one)
        for v, u in np.argwhere(other)
    )


@settings(deadline=None, max_examples=50)
@given(PAIRS, st.sampled_from([(1.0, 1.0), (0.5, 2.0), (3.0, 0.7)]))
def test_the_gap_is_the_smallest_distance_between_pixels(
    masks: tuple[np.ndarray, np.ndarray], spacing: tuple[float, float]
) -> None:
    """It equals the brute-force minimum over all pairs of pixels, and is zero exactly where regions meet."""
    one, other = masks
    assume(one.any() and other.any())
    scene = Scene(np.zeros(one.shape, np.uint8), (region(one), region(other)), spacing)

    found = relation.pair(scene, 0, 1)

    assert found.gap_px == pytest.approx(_squares_apart(one, other, (1.0, 1.0)))
    assert found.gap_mm == pytest.approx(_squares_apart(one, other, spacing))
    assert (found.contact == "apart") == (found.gap_px > 0)
    assert relation.box_gap(scene, 0, 1) <= found.gap_mm + 1e-9


def _contacts() -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Pairs of masks and how the first lies to the second."""
    disc, ring = ellipse(10), ellipse(30) & ~ellipse(10)
    yield disc, disc, "same"
    yield disc, ellipse(30), "inside"
    yield disc, ring, "inside"
    yield ellipse(30), disc, "around"
    yield disc, ellipse(10, center=(128, 140)), "overlapping"
    yield ellipse(10) & (np.arange(SIDE) < 128), ellipse(10) & (np.arange(SIDE) >= 128), "touching"
    yield disc, ellipse(10, center=(128, 160)), "apart"


@pytest.mark.parametrize(("one", "other", "word"), list(_contacts()))
def test_how_two_regions_meet(one: np.ndarray, other: np.ndarray, word: str) -> None:
    """Equal, one in the other (in its hole too), sharing pixels, touching, or apart."""
    scene = Scene(np.zeros((SIDE, SIDE), np.uint8), (region(one), region(other)))

    assert relation.pair(scene, 0, 1).contact == word


@pytest.mark.parametrize(
    ("center", "word"),
    [
        ((60, 128), "above"), ((200, 128), "below"), ((128, 60), "left"), ((128, 200), "right"),
        ((70, 70), "above left"), ((70, 190), "above right"), ((190, 70), "below left"),
        ((190, 190), "below right"),
        ((120, 60), "left"), ((128, 128), None),
    ],
)  # fmt: skip
def test_directions_are_the_pictures(center: tuple[float, float], word: str | None) -> None:
    """Eight of them, from the second region's center to the first's, in the image."""
    scene = Scene(np.zeros((SIDE, SIDE), np.uint8), (region(ellipse(5, center=center)), region(ellipse(6))))

    assert relation.pair(scene, 0, 1).direction == word


@settings(deadline=None)
@given(st.integers(1, 12), st.data())
def test_halves_add_up(width: int, data: st.DataObject) -> None:
    """The share left of the midline mirrors to the share right of it, on odd widths too."""
    mask = data.draw(arrays.arrays(np.bool_, (4, width)))
    assume(mask.any())
    scene = Scene(np.zeros((4, width), np.uint8), (region(mask), region(mask[:, ::-1])))

    ours, theirs = relation.halves(scene, 0), relation.halves(scene, 1)

    assert ours.left_share + theirs.left_share == 1
    assert {ours.half: theirs.half} in ({"left": "right"}, {"right": "left"}, {"both": "both"})
    assert ours.gap_px == theirs.gap_px
