"""Agreement of two readers, against published tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medtrinity25m.quality.agreement import agreement, cohen_kappa, gwet_ac1, percent


def table(*rows: tuple[int, ...]) -> np.ndarray:
    """One contingency table."""
    return np.array([rows], dtype=float)


COHEN_1960 = table((88, 14, 18), (10, 40, 10), (2, 6, 12))
"""Cohen, A coefficient of agreement for nominal scales, Educ Psychol Meas 20 (1960), p. 45, 200 cases."""

ABSTRACTORS = table((13, 0, 0), (0, 20, 7), (0, 4, 56))
"""Gwet, Handbook of Inter-Rater Reliability (4th ed. 2014); with these values in his R package irrCAC (vignette)."""

PARADOX = table((118, 5), (2, 0))
"""Gwet, Computing inter-rater reliability and its variance in the presence of high agreement, BJMSP 61 (2008)."""


def test_cohens_own_example_gives_his_kappa():
    """Agreement 0.70, by chance 0.41, kappa 0.492."""
    assert percent(COHEN_1960)[0] == pytest.approx(0.70)
    assert cohen_kappa(COHEN_1960)[0] == pytest.approx(0.492, abs=5e-4)


def test_gwets_example_gives_his_kappa_and_ac1():
    """Kappa 0.7964094 and AC1 0.8493305, as irrCAC prints them."""
    assert cohen_kappa(ABSTRACTORS)[0] == pytest.approx(0.7964094, abs=1e-7)
    assert gwet_ac1(ABSTRACTORS)[0] == pytest.approx(0.8493305, abs=1e-7)


def test_where_nearly_all_agree_kappa_falls_below_zero_and_ac1_does_not():
    """118 times yes from both of 125: kappa -0.02, AC1 0.94. That is why both are reported."""
    assert percent(PARADOX)[0] == pytest.approx(0.944)
    assert cohen_kappa(PARADOX)[0] == pytest.approx(-0.0234, abs=5e-5)
    assert gwet_ac1(PARADOX)[0] == pytest.approx(0.9408, abs=5e-5)


def test_readers_who_always_say_the_same_agree_perfectly_and_kappa_is_undefined():
    """One category used: kappa has nothing to correct by, and says so."""
    found = agreement([("correct", "correct")] * 30, ("correct", "wrong"))

    assert found.percent.estimate == found.ac1.estimate == 1
    assert math.isnan(found.kappa.estimate)
    assert str(found.kappa) == "–"
    assert found.as_json()["kappa"]["estimate"] is None


def test_pairs_come_to_the_same_as_their_table_with_intervals_around():
    """The published table written out as pairs; irrCAC's own intervals are (0.68, 0.913) and (0.764, 0.935)."""
    names = ("ectopic", "aiu", "niu")
    cells = ABSTRACTORS[0].astype(int)
    pairs = [(names[i], names[j]) for i in range(3) for j in range(3) for _ in range(cells[i, j])]
    found = agreement(pairs, names)

    assert found.kappa.estimate == pytest.approx(0.7964094)
    assert found.ac1.estimate == pytest.approx(0.8493305)
    assert (found.kappa.low, found.kappa.high) == pytest.approx((0.68, 0.913), abs=0.02)
    assert (found.ac1.low, found.ac1.high) == pytest.approx((0.764, 0.935), abs=0.02)
    assert agreement(reversed(pairs), names) == found


def test_categories_nobody_used_count_for_ac1_and_not_for_kappa():
    """A reader who could have said `partly` and never did agreed less by chance."""
    pairs = [("correct", "correct")] * 8 + [("correct", "wrong"), ("wrong", "wrong")]
    two = agreement(pairs, ("correct", "wrong"))
    four = agreement(pairs, ("correct", "partly", "wrong", "na"))

    assert four.kappa.estimate == pytest.approx(two.kappa.estimate)
    assert four.ac1.estimate > two.ac1.estimate


def test_no_pairs_are_no_agreement():
    """Nothing both judged: a dash, not a number."""
    assert [str(value) for value in agreement([], ("a", "b"))] == ["–"] * 3
