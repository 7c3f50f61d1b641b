"""Keyed pseudonyms."""

from __future__ import annotations

import pytest

from medtrinity25m.errors import ConfigError
from medtrinity25m.keys import Key, find_key

KEY = Key(b"0123456789abcdef")


def test_an_id_depends_on_key_source_and_locator_only():
    """The same inputs give the same id; any other input another."""
    same = KEY.row_id("s", "a.nii", "a.nii#axial=1")

    assert same == KEY.row_id("s", "a.nii", "a.nii#axial=1")
    assert same != KEY.row_id("t", "a.nii", "a.nii#axial=1")
    assert same != Key(b"another key of 16").row_id("s", "a.nii", "a.nii#axial=1")


def test_planes_of_a_file_share_the_first_half_of_their_ids():
    """Sorting by id keeps a volume together."""
    first, second = (KEY.row_id("s", "a.nii", f"a.nii#axial={i}") for i in (1, 2))

    assert (first[:16] == second[:16], first[16:] == second[16:]) == (True, False)


def test_parts_cannot_be_shifted_into_each_other():
    """`ab`+`c` and `a`+`bc` are different."""
    assert KEY.digest("patient", "ab", "c") != KEY.digest("patient", "a", "bc")


def test_fractions_are_spread_evenly():
    """Of 10,000 groups about a tenth falls into each tenth."""
    counts = [0] * 10
    for number in range(10_000):
        counts[int(KEY.fraction(str(number)) * 10)] += 1

    assert min(counts) > 880
    assert max(counts) < 1120


def test_the_key_is_never_shown():
    """Neither `repr` nor the public id holds the secret."""
    assert "0123456789abcdef" not in repr(KEY) + KEY.public_id


def test_without_a_key_the_error_says_how_to_make_one(tmp_path):
    """No key, a missing file, a short key: each says what to type."""
    for path, environment in ((None, {}), (tmp_path / "none.key", {}), (None, {"MEDTRINITY25M_KEY": "short"})):
        with pytest.raises(ConfigError, match=r"secrets\.token_hex"):
            find_key(path, environment)


def test_the_file_wins_over_the_environment(tmp_path):
    """A key file is explicit; line ends do not count."""
    path = tmp_path / "k"
    path.write_text("0123456789abcdef\n")

    assert find_key(path, {"MEDTRINITY25M_KEY": "x" * 20}) == KEY
