"""Intervals and tests from counts, against scipy and against what can be worked out by hand."""

from __future__ import annotations

import math
import time
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medtrinity25m.quality.bootstrap import (
    NOTHING,
    bootstrap,
    difference,
    f1,
    holm,
    mcnemar,
    ratio,
    swap_test,
    wilson,
)


@pytest.mark.parametrize("shares", [(0.05, 0.15, 0.8), (0.3, 0.4, 0.3), (0.6, 0.2, 0.2)])
def test_the_interval_of_a_mean_is_that_of_scipy(shares):
    """Counts of scores 0, 1 and 2 over 200 rows, and the rows themselves."""
    rows = np.random.default_rng(1).choice(3, size=200, p=shares).astype(float)
    theirs = stats.bootstrap((rows,), np.mean, n_resamples=10_000, method="percentile", rng=2).confidence_interval

    ours = bootstrap(Counter((value, 1.0) for value in rows))

    assert ours.estimate == pytest.approx(rows.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert ours.n == 200


def test_the_interval_of_a_ratio_is_that_of_scipy():
    """Precision: hits over tries, rows drawn as a whole."""
    rng = np.random.default_rng(3)
    tries = rng.integers(1, 9, 150)
    hits = rng.binomial(tries, 0.7)
    theirs = stats.bootstrap(
        (hits, tries), lambda h, t, axis: h.sum(axis) / t.sum(axis), paired=True, method="percentile", rng=4
    ).confidence_interval

    ours = bootstrap(Counter((float(h), float(t)) for h, t in zip(hits, tries, strict=True)))

    assert ours.estimate == pytest.approx(hits.sum() / tries.sum())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_interval_of_a_paired_difference_is_that_of_the_differences():
    """Two systems on the same rows: their difference, not two intervals side by side."""
    rng = np.random.default_rng(5)
    first = rng.integers(0, 3, 120).astype(float)
    second = np.clip(first - rng.integers(0, 2, 120), 0, 2)
    pairs = Counter((a, 1.0, b, 1.0) for a, b in zip(first, second, strict=True))

    ours = bootstrap(pairs, difference(ratio))
    theirs = stats.bootstrap((first - second,), np.mean, method="percentile", rng=6).confidence_interval

    assert ours.estimate == pytest.approx((first - second).mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert ours.high - ours.low < 0.6 * (lambda i: i.high - i.low)(bootstrap(Counter((a, 1.0) for a in first)))


def test_the_intervals_hold_what_they_promise():
    """Of 300 samples of 100 rows with a known mean, 95 % of the intervals hold it, give or take three errors."""
    rng = np.random.default_rng(8)
    values, shares = np.array([0.0, 1.0, 2.0]), (0.2, 0.3, 0.5)
    held = 0
    for _ in range(300):
        counts = rng.multinomial(100, shares)
        found = bootstrap({(v, 1.0): int(n) for v, n in zip(values, counts, strict=True)}, resamples=1000)
        held += found.low <= 1.3 <= found.high

    assert abs(held / 300 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 300)


def test_the_order_of_counting_changes_nothing_and_the_seed_does():
    """The same counts give the same bytes."""
    items = [((float(a), float(b)), a + b) for a, b in product(range(5), range(1, 5))]

    assert bootstrap(dict(items)) == bootstrap(dict(reversed(items)))
    assert bootstrap(dict(items), seed=1) != bootstrap(dict(items), seed=2)
    assert swap_test({(0.0, 1.0, 1.0, 1.0): 9, (1.0, 1.0, 0.0, 1.0): 3}) == swap_test(
        {(1.0, 1.0, 0.0, 1.0): 3, (0.0, 1.0, 1.0, 1.0): 9}
    )


def test_twenty_five_million_rows_cost_what_two_hundred_do():
    """Counts, not rows, are resampled."""
    start = time.perf_counter()
    found = bootstrap({(0.0, 1.0): 5_000_000, (1.0, 1.0): 8_000_000, (2.0, 1.0): 12_000_000})

    assert time.perf_counter() - start < 1
    assert found.n == 25_000_000
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.6016 / 25e6), rel=0.1)


def test_nothing_to_count_is_nothing_and_equal_rows_have_no_width():
    """No rows, no tries, one value: never a traceback, never a made-up number."""
    assert bootstrap({}) == NOTHING == wilson(0, 0)
    assert str(bootstrap({(0.0, 0.0): 5})) == "–"
    assert bootstrap({(0.0, 0.0): 5}).as_json() == {"estimate": None, "low": None, "high": None, "n": 5}
    assert bootstrap({(2.0, 1.0): 5})[:3] == (2, 2, 2)
    assert str(bootstrap({(2.0, 1.0): 5})) == "2.00 [no spread]", "three rows that agree are no certainty"


def test_rows_without_tries_do_not_break_a_resample():
    """Few rows with tries: a resample that draws none of them is left out."""
    found = bootstrap({(1.0, 2.0): 1, (0.0, 0.0): 3})

    assert found[:3] == (0.5, 0.5, 0.5)


def test_f1_is_that_of_precision_and_recall():
    """Harmonic mean of 6/8 and 6/12."""
    assert f1(np.array([[6.0, 8.0, 12.0]]))[0] == pytest.approx(2 * 0.75 * 0.5 / 1.25)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=4, max_size=9))
@settings(max_examples=25, deadline=None)
def test_the_permutation_test_finds_the_exact_p_value(pairs):
    """Against all 2^n exchanges, for few rows."""
    gaps = np.array([a - b for a, b in pairs])
    signs = np.array(list(product((-1, 1), repeat=len(gaps))))
    exact = np.mean(np.abs(signs @ gaps) >= abs(gaps.sum()))

    ours = swap_test(Counter((float(a), 1.0, float(b), 1.0) for a, b in pairs))

    assert ours == pytest.approx(exact, abs=0.025)


def test_mcnemar_is_the_binomial_of_the_rows_that_differ():
    """Agresti's exact form: 5 against 16 discordant pairs; nothing differs, nothing is shown."""
    assert mcnemar(5, 16) == pytest.approx(0.0266, abs=1e-4)
    assert mcnemar(16, 5) == mcnemar(5, 16)
    assert mcnemar(0, 0) == 1


def test_wilson_keeps_its_width_at_the_ends():
    """Newcombe 1998, Table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, tries), ends in published.items():
        assert wilson(hits, tries)[1:3] == pytest.approx(ends, abs=1e-4)


def test_holm_multiplies_the_smallest_most_and_never_falls():
    """0.01, 0.04, 0.03 of three become 0.03, 0.06, 0.06."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.9]) == [1, 1]
