"""What is measured inside a region, on drawn phantoms with known answers."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy import stats

from medtrinity25m.description import appearance
from medtrinity25m.description.measure import RegionFacts
from medtrinity25m.description.scene import Scene, luminance
from medtrinity25m.triplet import ROI, Window
from phantoms import SIDE, boxed, ellipse, facts, picture, region

# ---- brightness


@pytest.mark.parametrize(("inside", "word"), [(160, "higher"), (40, "lower"), (102, "equal")])
def test_a_disc_is_held_against_its_ring(inside: int, word: str) -> None:
    """Lighter, darker, or as light as what is around it, in the presence of noise."""
    disc = ellipse()

    assert facts(picture(disc, inside, 100, noise=6), region(disc)).brightness == word


def test_a_difference_no_eye_sees_is_none() -> None:
    """Two gray levels are a certain difference in a picture without noise, and no visible one."""
    disc = ellipse()

    assert facts(picture(disc, 102, 100), region(disc)).brightness == "equal"


def test_a_difference_drowned_in_noise_is_not_judged() -> None:
    """Eight levels under a noise of thirty are neither lighter nor alike."""
    disc = ellipse()

    assert facts(picture(disc, 112, 100, noise=30), region(disc)).brightness is None


def test_a_mixed_ring_is_not_called_equal() -> None:
    """A gray disc between black and white has the mean of its ring and looks like neither."""
    disc = ellipse()
    gray = np.full((SIDE, SIDE), 40, np.uint8)
    gray[:, SIDE // 2 :] = 200
    gray[disc] = 120

    assert facts(gray, region(disc)).brightness is None


@pytest.mark.parametrize("level", [0, 255])
def test_ends_of_the_gray_scale_are_not_called_equal(level: int) -> None:
    """Where the window cuts everything off, alike on the screen does not mean alike."""
    disc = ellipse()

    assert facts(np.full((SIDE, SIDE), level, np.uint8), region(disc)).brightness is None


def test_other_regions_are_no_surroundings() -> None:
    """A darker lesion around which others crowd is held against the tissue between them."""
    disc, crowd = ellipse(10), ellipse(14) & ~ellipse(12)
    gray = picture(disc, 80, 120)
    gray[crowd] = 20

    assert facts(gray, region(disc)).brightness is None
    assert facts(gray, region(disc), region(crowd)).brightness == "lower"


def test_an_organ_surrounds_its_tumor() -> None:
    """A larger region with another label stays in the ring of the one it holds."""
    tumor, liver = ellipse(10), ellipse(60)
    gray = picture(liver, 150, 20)
    gray[tumor] = 100

    assert facts(gray, region(tumor, "tumor"), region(liver, "liver")).brightness == "lower"


def test_without_a_ring_nothing_is_judged() -> None:
    """A region that leaves next to nothing of the image has no surroundings."""
    most = np.ones((SIDE, SIDE), bool)
    most[:, :2] = False

    assert facts(picture(most, 200, 50), region(most)).brightness is None


def test_a_few_pixels_are_not_judged() -> None:
    """Nine pixels are too few to compare."""
    dot = np.zeros((SIDE, SIDE), bool)
    dot[100:103, 100:103] = True

    assert facts(picture(dot, 200, 50), region(dot)).brightness is None


@pytest.mark.parametrize("gamma", [0.6, 1.5])
def test_brightness_survives_another_display_curve(gamma: float) -> None:
    """The judgment is about order, so a viewer's gamma does not turn it."""
    disc = ellipse()
    gray = picture(disc, 130, 90, noise=10)
    curved = np.round(255 * (gray / 255) ** gamma).astype(np.uint8)

    assert facts(gray, region(disc)).brightness == facts(curved, region(disc)).brightness == "higher"


LEVELS = arrays.arrays(np.uint8, st.integers(1, 60))


@settings(deadline=None)
@given(LEVELS, LEVELS)
def test_the_chance_to_be_lighter_is_mann_whitneys(inside: np.ndarray, outside: np.ndarray) -> None:
    """It is scipy's U statistic over the number of pairs."""
    statistic = stats.mannwhitneyu(inside, outside, method="asymptotic").statistic if _varies(inside, outside) else None
    assume(statistic is not None)

    assert appearance.lighter_chance(inside, outside) == pytest.approx(statistic / (inside.size * outside.size))


def _varies(*parts: np.ndarray) -> bool:
    """Say whether there are two different levels, which the asymptotic p-value needs."""
    return len(np.unique(np.concatenate(parts))) > 1


def test_the_ring_is_what_lies_near_but_not_next_to_the_region() -> None:
    """The ring's pixels are those at a distance over one pixel and up to one and half a radius."""
    disc = ellipse(20)
    view = Scene(picture(disc, 1, 2), (region(disc),)).surroundings(0)
    points = np.argwhere(disc) - (region(disc).xyxy[1], region(disc).xyxy[0])
    inside = np.argwhere(view.inside)

    assert np.array_equal(points - points.min(0), inside - inside.min(0))
    assert view.ring is not None
    far = np.array([np.hypot(*(inside - pixel).T).min() for pixel in np.argwhere(view.ring)])
    off = np.array([np.hypot(*(inside - pixel).T).min() for pixel in np.argwhere(~view.ring & ~view.inside)])
    width = 0.5 * math.sqrt(disc.sum() / math.pi)
    assert far.min() > 1
    assert far.max() <= 1 + width
    assert not ((off > 1) & (off <= 1 + width)).any()


@settings(deadline=None)
@given(arrays.arrays(np.uint8, (6, 5, 3)))
def test_luminance_is_pillows(pixels: np.ndarray) -> None:
    """Whoever opens the picture with Pillow and converts to L gets the same levels."""
    assert np.array_equal(np.asarray(Image.fromarray(pixels).convert("L")), luminance(pixels))


# ---- texture


def test_an_even_disc_is_homogeneous() -> None:
    """With noise or without, when the surroundings have the same noise."""
    disc = ellipse(30)

    assert facts(picture(disc, 160, 100), region(disc)).texture == "homogeneous"
    assert facts(picture(disc, 160, 100, noise=12), region(disc)).texture == "homogeneous"


@pytest.mark.parametrize("grain", [1, 8])
def test_a_mottled_disc_is_heterogeneous(grain: int) -> None:
    """A pattern that the surroundings do not have, fine or coarse."""
    disc = ellipse(30)
    blocks = np.random.default_rng(2).choice([-35, 35], (SIDE // grain, SIDE // grain))
    mottle = np.kron(blocks, np.ones((grain, grain)))
    gray = np.where(disc, 150 + mottle, 90).astype(np.uint8)

    assert facts(gray, region(disc)).texture == "heterogeneous"


def test_a_little_unevenness_is_not_judged() -> None:
    """Between the two words there is none."""
    disc = ellipse(30)
    slope = np.linspace(-60, 60, SIDE)[None, :] * np.ones((SIDE, 1))

    assert facts(np.where(disc, 150 + slope, 90).astype(np.uint8), region(disc)).texture is None


def test_on_black_a_fine_grain_could_be_noise() -> None:
    """Where the window hides the noise of the surroundings, the region's own grain is not held against it."""
    disc = ellipse(30)
    noisy = np.clip(np.random.default_rng(3).normal(150, 20, (SIDE, SIDE)), 0, 255).astype(np.uint8)

    assert facts(np.where(disc, noisy, 0).astype(np.uint8), region(disc)).texture is None
    assert facts(np.where(disc, 150, 0).astype(np.uint8), region(disc)).texture == "homogeneous"


def test_a_region_the_window_makes_black_is_not_called_homogeneous() -> None:
    """Nothing is known of a region that lies below the window."""
    disc = ellipse(30)

    assert facts(picture(disc, 0, 100), region(disc)).texture is None


# ---- what a region can answer


def test_a_box_has_no_texture_margin_or_shape() -> None:
    """A box holds its surroundings too, and its edge is nobody's outline."""
    disc = ellipse(25)
    found = facts(picture(disc, 160, 90), boxed(disc))

    assert (found.texture, found.margin, found.shape) == (None, None, None)
    assert found.brightness == "higher"
    assert found.share == Fraction(51 * 51, SIDE**2)


def test_several_in_one_have_only_a_brightness() -> None:
    """Words for one outline would speak of all of them."""
    both = ellipse(20, center=(60, 60)) | ellipse(20, center=(180, 180))
    found = facts(picture(both, 160, 90), region(both, count=2))

    assert (found.brightness, found.texture, found.margin, found.shape) == ("higher", None, None, None)


def test_a_whole_image_has_no_surroundings() -> None:
    """It is all of the picture, and that is all."""
    whole = boxed(np.ones((SIDE, SIDE), bool)).with_(origin="whole_image")

    assert facts(picture(ellipse(), 160, 90), whole) == RegionFacts(share=Fraction(1))


def test_sizes_are_those_of_the_box() -> None:
    """Width and height in pixels, and in millimeters by column and row spacing."""
    found = facts(picture(ellipse(20, 0.5), 160, 90), region(ellipse(20, 0.5)), spacing_mm=(2.0, 0.5))

    assert (found.size_px, found.size_mm) == ((41, 21), (20.5, 42.0))


# ---- mean HU


def hounsfield(window: Window, hu: float = 43.0) -> tuple[np.ndarray, np.ndarray, ROI]:
    """Calibrated values with a disc of `hu` on fat, their picture, and the disc."""
    disc = ellipse(25)
    values = np.where(disc, hu, -90.0).astype(np.float32) + np.random.default_rng(4).normal(0, 8, disc.shape)
    linear = ((values - (window.center - 0.5)) / (window.width - 1) + 0.5) * 255
    return np.clip(np.round(linear), 0, 255).astype(np.uint8), values.astype(np.float32), region(disc)


def test_mean_hu_is_the_mean_of_the_values() -> None:
    """On calibrated CT whose window shows the region."""
    window = Window(center=40, width=400, name="soft_tissue")
    gray, values, roi = hounsfield(window)

    assert facts(gray, roi, values=values, window=window).mean_hu == round(float(values[ellipse(25)].mean()))


@pytest.mark.parametrize("hu", [900.0, -800.0])
def test_mean_hu_is_not_told_where_the_window_cuts_it_off(hu: float) -> None:
    """Nobody could find it again in the picture."""
    window = Window(center=40, width=400, name="soft_tissue")
    gray, values, roi = hounsfield(window, hu)

    assert facts(gray, roi, values=values, window=window).mean_hu is None


def test_mean_hu_needs_values_and_window() -> None:
    """A picture alone is not calibrated."""
    window = Window(center=40, width=400, name="soft_tissue")
    gray, values, roi = hounsfield(window)

    assert facts(gray, roi, window=window).mean_hu is None
    assert facts(gray, roi, values=values).mean_hu is None


# ---- laws

LOOK = ("higher", "homogeneous", "sharp", "oval")


@pytest.mark.parametrize("turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.T])
def test_a_mirrored_picture_has_the_same_look(turn: object) -> None:
    """Brightness, texture, margin and shape do not know left from right."""
    mask = ellipse(25, 0.6, 30, center=(100, 150))
    gray = picture(mask, 150, 90, blur=1, noise=5)
    there = facts(gray, region(mask))
    back = facts(np.ascontiguousarray(turn(gray)), region(np.ascontiguousarray(turn(mask))))  # type: ignore[operator]

    assert (there.brightness, there.texture, there.margin, there.shape) == (
        "higher",
        "homogeneous",
        "sharp",
        "oval",
    )
    assert (back.brightness, back.texture, back.margin, back.shape) == (
        "higher",
        "homogeneous",
        "sharp",
        "oval",
    )


def test_importing_the_describer_is_cheap() -> None:
    """Neither scikit-image nor the slow parts of scipy are loaded before they are needed."""
    heavy = "{'skimage', 'scipy.spatial', 'scipy.stats'}"
    code = f"import sys, medtrinity25m.description.measured; print({heavy} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "set()"
