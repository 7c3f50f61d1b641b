"""The pictures a model sees: the image untouched, and a copy with the boxes around the regions."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from medtrinity25m.description.pictures import GREEN, boxed_picture, clean_picture
from medtrinity25m.triplet import Sample


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def green(pixels: np.ndarray) -> np.ndarray:
    return np.all(pixels == GREEN, axis=-1)


def test_the_clean_picture_is_the_image(sample):
    """Pixels that fit are sent as they are, and nothing is drawn on them."""
    assert np.array_equal(opened(clean_picture(sample, 1024)), sample.pixels)


def test_the_box_is_drawn_on_the_copy_only_and_around_the_region(sample):
    """The region's own pixels and the sample's stay as they were."""
    before = sample.pixels.copy()
    copy = opened(boxed_picture(sample, {0: (5, 10, 25, 20)}, 1024))

    assert np.array_equal(sample.pixels, before)
    rows, columns = np.nonzero(green(copy))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (3, 8, 27, 22)
    assert np.array_equal(copy[10:20, 5:25], np.repeat(before[10:20, 5:25, None], 3, axis=2))


@pytest.mark.parametrize("box", [(0, 0, 60, 40), (59, 39, 60, 40), (0, 39, 1, 40)])
def test_a_box_at_the_edge_stays_inside(sample, box):
    """A box that touches the image's edge is drawn along it."""
    copy = opened(boxed_picture(sample, {0: box}, 1024))

    assert copy.shape == (40, 60, 3)
    assert green(copy).any()


def test_a_large_image_is_scaled_down_and_its_boxes_with_it():
    """The box lies where the region lies in the smaller copy."""
    pixels = np.zeros((400, 3000), np.uint8)
    wide = Sample(id="0", locator="a", modality="ct", source="s", license="CC0-1.0", pixels=pixels)

    copy = opened(boxed_picture(wide, {0: (1500, 100, 2250, 300)}, 600))

    assert copy.shape == (80, 600, 3)
    rows, columns = np.nonzero(green(copy))
    assert (columns.min(), columns.max() + 1) == (298, 452)
    assert (rows.min(), rows.max() + 1) == (18, 62)


def test_several_boxes_are_numbered_and_one_is_not(sample):
    """Numbers are written outside the boxes where there is room, on black."""
    color = sample.with_(pixels=np.full((200, 200, 3), 90, np.uint8))
    one = opened(boxed_picture(color, {0: (50, 60, 90, 90)}, 1024))
    two = opened(boxed_picture(color, {0: (50, 60, 90, 90), 3: (120, 5, 160, 60)}, 1024))

    assert not np.all(one == 0, axis=-1).any()
    assert np.all(two == 0, axis=-1)[40:58, 48:70].any(), "above the first"
    assert np.all(two == 0, axis=-1)[3:20, 118:140].any(), "inside the second, which has no room above"


def test_the_same_picture_is_the_same_bytes(sample):
    """The request's hash depends on it."""
    assert boxed_picture(sample, {0: (5, 10, 25, 20)}, 64) == boxed_picture(sample, {0: (5, 10, 25, 20)}, 64)
