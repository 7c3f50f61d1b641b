"""From stored values to 8 bits: the formulas of DICOM PS3.3 C.11.2.1, written down a second time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medtrinity25m.errors import ConfigError
from medtrinity25m.readers import window as w

NUMBERS = st.floats(-5000, 5000, allow_nan=False)
ANY_ARRAY = arrays(np.float64, st.integers(0, 60), elements=st.floats(allow_nan=True, allow_infinity=True))


def by_the_standard(x: float, center: float, width: float, function: str) -> float:
    """One value through PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 or C.11.2.1.3.2, output 0 to 255, as the text has it."""
    if function == "SIGMOID":
        return 255 / (1 + math.exp(min(700, -4 * (x - center) / width)))
    if function == "LINEAR":
        if x <= center - 0.5 - (width - 1) / 2:
            return 0
        if x > center - 0.5 + (width - 1) / 2:
            return 255
        return ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    if x <= center - width / 2:
        return 0
    if x > center + width / 2:
        return 255
    return ((x - center) / width + 0.5) * 255


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@given(values=st.lists(NUMBERS, min_size=1, max_size=50), center=NUMBERS, width=st.floats(1, 6000))
@example(values=[39.4, 39.5, 39.6], center=40, width=1)
@example(values=[-160, 239, 240, 40, 39], center=40, width=400)
def test_the_standards_formula(values: list[float], center: float, width: float, function: w.VoiFunction) -> None:
    """Every function gives the standard's own number, rounded to the nearest grey."""
    greys = w.apply_linear(np.array(values), center, width, function=function)
    for value, grey in zip(values, greys.tolist(), strict=True):
        assert abs(grey - by_the_standard(value, center, width, function)) <= 0.5 + 1e-6


def test_linear_counts_whole_steps() -> None:
    """LINEAR over 256 integers is the identity: the first is black, the last is white, each has its own grey."""
    values = np.arange(-1024, -1024 + 256)
    np.testing.assert_array_equal(w.apply_linear(values, -1024 + 128, 256), np.arange(256))


def test_a_linear_window_of_width_one_is_a_step() -> None:
    """Width 1 has no ramp: values up to center - 0.5 are black and all above white."""
    np.testing.assert_array_equal(w.apply_linear(np.array([9.4, 9.5, 9.6]), 10, 1), [0, 0, 255])


def test_signalling_nan_is_quiet() -> None:
    """The NaN that random bytes make, which NumPy warns about when it is copied, is like any other."""
    values = np.array([0x7F800001, 0x3F800000], np.uint32).view(np.float32)
    assert w.percentile_window(values) == w.percentile_window(values[1:])
    np.testing.assert_array_equal(w.apply_linear(values, 0, 2), [0, 255])


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_what_is_not_finite_is_black(function: w.VoiFunction) -> None:
    """NaN and both infinities become 0 without a warning, the values beside them what they are alone."""
    values = np.array([[np.nan, np.inf], [-np.inf, 1e300]], np.float64)
    np.testing.assert_array_equal(w.apply_linear(values, 0, 2, function=function), [[0, 0], [0, 255]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, ">i2", np.bool_])
def test_any_number_type(dtype: str) -> None:
    """Greys depend on the values, not on how they are stored, and the input stays as it was."""
    values = np.array([0, 1, 1, 0]).astype(dtype)
    before = values.copy()
    greys = w.apply_linear(values, 0.5, 1, function="LINEAR_EXACT")
    np.testing.assert_array_equal(greys, [0, 255, 255, 0])
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(("center", "width", "function"), [
    (0, 0, "LINEAR_EXACT"), (0, -1, "SIGMOID"), (0, 0.5, "LINEAR"), (math.nan, 10, "LINEAR"), (0, math.inf, "LINEAR"),
])  # fmt: skip
def test_a_window_that_is_none(center: float, width: float, function: w.VoiFunction) -> None:
    """A width the standard does not allow, or a number that is none, is a ValueError that says so."""
    with pytest.raises(ValueError, match="has a finite center and a width from"):
        w.apply_linear(np.zeros(3), center, width, function=function)


def test_presets_are_what_the_rule_names() -> None:
    """Each preset's rule gives its numbers and its name; (center, width) is called source; header is no window."""
    for name, (center, width) in w.PRESETS.items():
        found = w.explicit_window(name)  # type: ignore[arg-type]
        assert found is not None
        assert (found.center, found.width, found.name) == (center, width, name)
    own = w.explicit_window((40, 350))
    assert own is not None
    assert (own.center, own.width, own.name) == (40, 350, "source")
    assert w.explicit_window("header") is None


@pytest.mark.parametrize("rule", [(0, 0), (0, -3), (math.nan, 1), (0, math.inf)])
def test_a_rule_that_is_no_window(rule: tuple[float, float]) -> None:
    """A source's window without positive width is a mistake in the config and named as one."""
    with pytest.raises(ConfigError, match="the width above 0"):
        w.explicit_window(rule)


def test_percentiles_are_numpys() -> None:
    """Without dominating zeros the window runs from NumPy's 0.5th to its 99.5th percentile."""
    values = np.random.default_rng(0).normal(100, 20, (50, 60))
    found = w.percentile_window(values)
    low, high = np.percentile(values, (0.5, 99.5))
    assert found.name == "percentile"
    assert found.center - found.width / 2 == pytest.approx(low, abs=1e-3)
    assert found.center + found.width / 2 == pytest.approx(high, abs=1e-3)


def test_dominating_zeros_are_padding() -> None:
    """A volume that is mostly zeros gets the window of the rest; one that is zero to a third keeps its zeros."""
    tissue = np.random.default_rng(1).uniform(200, 300, 1000)
    padded = np.concatenate([tissue, np.zeros(9000)])
    assert w.percentile_window(padded) == w.percentile_window(tissue)
    some = np.concatenate([tissue, np.zeros(500)])
    assert w.percentile_window(some).center < 160


def test_damaged_values_do_not_stretch_the_window() -> None:
    """NaN, infinities and numbers beyond 1e30 are left out of both windows."""
    good = np.linspace(1, 50, 500)
    bad = np.concatenate([good, [np.nan, np.inf, -np.inf, 1e38, -1e300]])
    assert w.percentile_window(bad) == w.percentile_window(good)
    assert w.full_range(bad) == w.full_range(good)


def test_the_full_range_reaches_black_and_white() -> None:
    """Under `full_range` the least value is 0 and the greatest 255."""
    values = np.array([-7, 3, 12])
    found = w.full_range(values)
    assert (found.center, found.width, found.name) == (2.5, 19, "full_range")
    assert w.show(values, found).tolist()[::2] == [0, 255]


@pytest.mark.parametrize("values", [np.full((4, 4), 7.5), np.zeros(3), np.array([np.nan]), np.zeros((0, 4))])
def test_images_without_contrast(values: np.ndarray) -> None:
    """A constant, an empty and an all-NaN image get a window of width 1, never none."""
    assert w.percentile_window(values).width == 1
    assert w.full_range(values).width == 1


def test_two_greys_use_the_full_range() -> None:
    """Where both percentiles fall on one value the window spans what there is, and a rare value is seen."""
    values = np.zeros(10_000)
    values[:3] = 40
    assert (w.percentile_window(values).center, w.percentile_window(values).width) == (20, 40)


@given(ANY_ARRAY)
def test_no_array_breaks_a_window(values: np.ndarray) -> None:
    """Any floats whatever give a window with positive width that can be applied without a warning."""
    for found in (w.percentile_window(values), w.full_range(values)):
        assert found.width > 0
        assert w.show(values, found).shape == values.shape


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (70, 71), (3, 4, 50), (0, 5), (5, 0)])
def test_blocks_do_not_show(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Greys are the same whether the array is shown at once or in blocks of a hundred values."""
    values = np.random.default_rng(3).normal(0, 50, shape)
    at_once = w.apply_linear(values, 0, 200)
    monkeypatch.setattr(w, "BLOCK", 100)
    np.testing.assert_array_equal(w.apply_linear(values, 0, 200), at_once)


def test_large_arrays_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit every k-th value is looked at, k odd, in memory order, and the window hardly moves."""
    monkeypatch.setattr(w, "SAMPLE", 10_000)
    values = np.asfortranarray(np.random.default_rng(2).normal(0, 1, (256, 256)))
    some = w.sample(values)
    assert 5_000 < some.size <= 10_000
    np.testing.assert_array_equal(some, values.ravel(order="F")[::7])
    low, high = np.percentile(values, (0.5, 99.5))
    found = w.percentile_window(values)
    assert found.center == pytest.approx((low + high) / 2, abs=0.2)
    assert found.width == pytest.approx(high - low, rel=0.1)
