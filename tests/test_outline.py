"""Margin and shape, on drawn phantoms with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medtrinity25m.description import outline
from phantoms import ellipse, facts, picture, region, star

# ---- margin


@pytest.mark.parametrize("radius", [12, 20, 60])
@pytest.mark.parametrize("noise", [0, 8])
@pytest.mark.parametrize(("blur", "word"), [(0, "sharp"), (0.85, "sharp"), (2, None), (5, "ill-defined")])
def test_the_margin_follows_the_blur(radius: int, noise: float, blur: float, word: str | None) -> None:
    """A step and a scanner's point spread are sharp, five pixels of blur are not, two are in between."""
    disc = ellipse(radius)

    assert facts(picture(disc, 160, 90, blur, noise), region(disc)).margin == word


def test_a_dark_region_has_margins_too() -> None:
    """The edge is looked for in the direction of the contrast."""
    disc = ellipse(25)

    assert facts(picture(disc, 50, 150), region(disc)).margin == "sharp"
    assert facts(picture(disc, 50, 150, blur=6), region(disc)).margin == "ill-defined"


def test_a_loose_outline_does_not_blur_a_sharp_edge() -> None:
    """An outline drawn two pixels too wide to one side still finds the edge."""
    disc = ellipse(25)

    assert facts(picture(disc, 160, 90), region(ellipse(26, center=(129, 129)))).margin == "sharp"


def test_without_contrast_there_is_no_margin() -> None:
    """Twelve levels, or twenty under a noise of ten, are no contrast to judge an edge by."""
    disc = ellipse(25)

    assert facts(picture(disc, 112, 100), region(disc)).margin is None
    assert facts(picture(disc, 125, 100, noise=10), region(disc)).margin is None


def test_a_larger_picture_of_the_same_has_the_same_margin() -> None:
    """Edges are judged as they look when the picture is fitted to the screen."""
    gray, mask = picture(ellipse(25), 160, 90, blur=0.5), ellipse(25)
    twice, often = (np.ones((times, times), np.uint8) for times in (2, 8))
    small = facts(np.kron(gray, twice), region(np.kron(mask, twice).astype(bool)))
    large = facts(np.kron(gray, often), region(np.kron(mask, often).astype(bool)))

    assert small.margin == large.margin == "sharp"


# ---- shape


@pytest.mark.parametrize("turn", [0, 30, 45, 90])
@pytest.mark.parametrize(
    ("ratio", "word"),
    [(1.0, "round"), (0.9, "round"), (0.8, None), (0.7, "oval"), (0.4, "oval"), (0.2, None)],
)
def test_ellipses_are_round_or_oval_by_their_axes(ratio: float, word: str | None, turn: float) -> None:
    """At any angle; between the two, and where long and thin, no word."""
    assert outline.shape(ellipse(30, ratio, turn), None) == word


def test_a_star_is_irregular() -> None:
    """Neither round nor oval, with dents."""
    assert outline.shape(star(), None) == "irregular"


def test_a_small_hole_does_not_change_the_shape_and_a_ring_has_none() -> None:
    """A few pixels missing inside are noise; what one sees of a ring is the hole."""
    assert outline.shape(ellipse(30) & ~ellipse(4), None) == "round"
    assert outline.shape(ellipse(30) & ~ellipse(20), None) is None


@pytest.mark.parametrize("size", [(20, 20), (12, 40)])
def test_angular_regions_have_no_word(size: tuple[int, int]) -> None:
    """A square or a bar is none of round, oval and irregular."""
    assert outline.shape(np.ones(size, bool), None) is None


def test_shape_is_judged_in_millimeters() -> None:
    """Pixels twice as high as wide make a flat ellipse a disc."""
    flat = ellipse(30, 0.5)

    assert outline.shape(flat, None) == "oval"
    assert outline.shape(flat, (2.0, 1.0)) == "round"


@settings(deadline=None)
@given(st.floats(5.8, 20), st.floats(0, 1), st.floats(0, 1))
def test_every_disc_of_a_hundred_pixels_is_round(radius: float, right: float, down: float) -> None:
    """Wherever its center falls between the pixels."""
    disc = ellipse(radius, center=(60 + down, 60 + right))
    assume(disc.sum() >= outline.LEAST_SHAPE_PX)

    assert outline.shape(disc, None) == "round"


def test_small_regions_have_no_shape() -> None:
    """Below a hundred pixels the grid decides."""
    assert outline.shape(ellipse(5), None) is None


def test_a_region_cut_off_by_the_edge_has_no_shape() -> None:
    """Nobody sees how its outline goes on."""
    cut = ellipse(30, center=(128, 5))

    assert facts(picture(cut, 160, 90), region(cut)).shape is None
