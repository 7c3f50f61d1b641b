"""Boxes, components, positions and sizes, held against scipy on random masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from medtrinity25m.errors import RefusedError
from medtrinity25m.roi import geometry

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
MASKS = arrays.arrays(np.bool_, SHAPES)
LABEL_MAPS = arrays.arrays(np.int32, SHAPES, elements=st.sampled_from([0, 0, 1, 2, 7, 70_000, 16_000_000]))
SIDE = st.integers(1, 60)


def scipy_box(place: tuple[slice, slice]) -> tuple[int, int, int, int]:
    """Return what `find_objects` gives as a half-open xyxy box."""
    rows, columns = place
    return columns.start, rows.start, columns.stop, rows.stop


@settings(deadline=None)
@given(MASKS)
def test_components_agree_with_scipy(mask: np.ndarray) -> None:
    """Number, boxes and areas of the components of any mask are those of label, find_objects and bincount."""
    labels, number = ndimage.label(mask)

    found = geometry.components(mask)

    assert number == len(found)
    assert [scipy_box(place) for place in ndimage.find_objects(labels)] == [piece.xyxy for piece in found]
    assert np.bincount(labels.ravel())[1:].tolist() == [piece.area_px for piece in found]


@settings(deadline=None)
@given(MASKS)
def test_components_put_together_are_the_mask(mask: np.ndarray) -> None:
    """Painting every component back gives the mask it came from, each pixel once."""
    painted = np.zeros(mask.shape, np.int32)
    for (x0, y0, x1, y1), crop in geometry.components(mask):
        painted[y0:y1, x0:x1] += crop

    assert np.array_equal(mask.astype(np.int32), painted)


@settings(deadline=None)
@given(LABEL_MAPS)
def test_instances_agree_with_scipy(labels: np.ndarray) -> None:
    """Each value of a label map is one piece with scipy's box and area, however large the values are."""
    values = np.unique(labels[labels != 0])
    places = [ndimage.find_objects((labels == value).astype(int))[0] for value in values]

    found = geometry.instances(labels)

    assert [scipy_box(place) for place in places] == [piece.xyxy for piece in found]
    assert [int((labels == value).sum()) for value in values] == [piece.area_px for piece in found]


@settings(deadline=None)
@given(MASKS)
def test_the_tight_box_is_scipys(mask: np.ndarray) -> None:
    """The box of all true pixels is that of find_objects, and None without any."""
    places = ndimage.find_objects(mask.astype(int))

    assert (scipy_box(places[0]) if places else None) == geometry.tight_box(mask)


def test_pixels_that_meet_at_a_corner_are_two_components() -> None:
    """Components are 4-connected."""
    assert len(geometry.components(np.eye(2, dtype=bool))) == 2


def test_an_instance_in_two_parts_stays_one_piece() -> None:
    """An instance that another one cuts in two is still one instance."""
    pieces = geometry.instances(np.array([[1, 2, 1]]))

    assert [piece.xyxy for piece in pieces] == [(0, 0, 3, 1), (1, 0, 2, 1)]
    assert pieces[0].mask.tolist() == [[True, False, True]]


def test_a_mask_that_touches_the_border_keeps_its_full_box() -> None:
    """A component in the last row and column reaches to the image's size."""
    mask = np.zeros((5, 7), bool)
    mask[3:, 4:] = True

    assert [piece.xyxy for piece in geometry.components(mask)] == [(4, 3, 7, 5)]


@settings(deadline=None)
@given(st.tuples(SIDE, SIDE), st.data())
def test_a_clipped_box_holds_exactly_the_pixels_it_touches(size: tuple[int, int], data: st.DataObject) -> None:
    """A pixel is in the clipped box when the float box covers part of it, and the box stays in the image."""
    height, width = size
    eighths = st.integers(-80, 8 * 80).map(lambda number: number / 8)  # exact in floats
    x0, y0 = data.draw(eighths), data.draw(eighths)
    x1, y1 = x0 + data.draw(st.integers(1, 400)) / 8, y0 + data.draw(st.integers(1, 400)) / 8
    columns = [x for x in range(width) if x < x1 and x + 1 > x0]
    rows = [y for y in range(height) if y < y1 and y + 1 > y0]

    if columns and rows:
        expected = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        assert expected == geometry.clip((x0, y0, x1, y1), height, width)
    else:
        with pytest.raises(RefusedError) as refusal:
            geometry.clip((x0, y0, x1, y1), height, width)
        assert refusal.value.code == "roi.empty_box"


def test_rounding_noise_does_not_grow_a_box() -> None:
    """A fraction times a size that misses an integer by a rounding error does not reach the next pixel."""
    third = 0.1 * 3 * 100  # 30.000000000000004

    assert third > 30
    assert geometry.clip((0.0, 0.0, third, 10.0), 100, 100) == (0, 0, 30, 10)


@pytest.mark.parametrize(
    "box",
    [
        (5.0, 5.0, 5.0, 9.0),
        (9.0, 5.0, 5.0, 9.0),
        (5.0, 5.0, 5.0002, 9.0),
        (float("nan"), 0.0, 5.0, 5.0),
        (0.0, 0.0, float("inf"), 5.0),
        (-9.0, 0.0, 0.0, 5.0),
        (10.0, 0.0, 15.0, 5.0),
    ],
)
def test_an_empty_box_is_refused(box: tuple[float, float, float, float]) -> None:
    """Boxes without area, turned around, not finite or outside the image are refused with one code."""
    with pytest.raises(RefusedError) as refusal:
        geometry.clip(box, 10, 10)

    assert refusal.value.code == "roi.empty_box"


@pytest.mark.parametrize(
    ("center", "word"),
    [
        (0.05, "left"), (0.2, "left-center"), (0.395, "left-center"), (0.4, "center"), (0.474, "center"),
        (0.6, "right-center"), (0.733, "right-center"), (0.8, "right"), (0.95, "right"),
    ],
)  # fmt: skip
def test_the_horizontal_word_follows_the_center(center: float, word: str) -> None:
    """Five equal bins; a center on a cut belongs to the higher one."""
    x = round(center * 1000)

    assert f"{word}, middle" == geometry.position((x - 5, 490, x + 5, 510), 1000, 1000)


def test_the_vertical_words_run_from_top_to_bottom() -> None:
    """One word for each fifth of the height."""
    words = [geometry.position((0, y, 100, y + 20), 100, 100).split(", ")[1] for y in range(0, 100, 20)]

    assert words == ["upper", "upper-middle", "middle", "lower-middle", "lower"]


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_bins_are_exact_at_every_size(height: int, width: int, data: st.DataObject) -> None:
    """The bin of any box is floor(5 center / size), computed in fractions and not in floats."""
    from fractions import Fraction

    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))

    across, down = geometry.bins((x0, y0, x1, y1), height, width)

    assert across == Fraction(x0 + x1, 2 * width) * 5 // 1
    assert down == Fraction(y0 + y1, 2 * height) * 5 // 1
    assert {across, down} <= set(range(5))


def test_size_takes_columns_for_width_and_rows_for_height() -> None:
    """Width uses the column spacing, the second of the two; without spacing there is no size."""
    assert geometry.size_mm((0, 0, 10, 20), (2.0, 0.5)) == (5.0, 40.0)
    assert geometry.size_mm((0, 0, 10, 20), None) is None
