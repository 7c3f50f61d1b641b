"""Cutting long text: pieces re-slice, nothing is lost, none is too long, and they are LangChain's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrinity25m.knowledge.chunking import spans

texts = st.text(alphabet=st.sampled_from("ab é\n\t"), max_size=300) | st.text(max_size=200)
sizes = st.tuples(st.integers(2, 60), st.integers(0, 59)).filter(lambda pair: pair[1] < pair[0])


@given(texts, sizes)
def test_pieces_hold_all_that_is_no_space(text, limits):
    """Every character that is no space lies in a piece; pieces come in order and are not too long."""
    found = list(spans(text, *limits))

    covered = {at for start, end in found for at in range(start, end)}
    assert {at for at, letter in enumerate(text) if not letter.isspace()} <= covered
    assert all(0 < end - start <= limits[0] for start, end in found)
    assert found == sorted(found)


@given(texts, sizes)
def test_a_piece_has_no_space_at_its_ends_and_repeats_no_more_than_allowed(text, limits):
    """Overlap is bounded, edges are letters."""
    found = list(spans(text, *limits))

    assert all(text[start:end] == text[start:end].strip() for start, end in found)
    overlaps = [before[1] - after[0] for before, after in pairwise(found)]
    assert all(overlap <= limits[1] for overlap in overlaps)


@pytest.mark.parametrize(
    ("text", "size", "overlap", "pieces"),
    [
        ("one two three four five", 9, 4, ["one two", "three", "four", "five"]),
        ("one two three four five", 12, 6, ["one two", "two three", "three four", "four five"]),
        ("a\n\nbb cc dd ee\n\nf", 6, 0, ["a", "bb cc", "dd ee", "f"]),
        ("abcdefghij klm", 4, 1, ["abcd", "defg", "ghij", "klm"]),
        ("  \n\n word \n\n ", 1000, 200, ["word"]),
        ("", 1000, 200, []),
    ],
)
def test_pieces_are_those_of_langchain(text, size, overlap, pieces):
    """Values of RecursiveCharacterTextSplitter in langchain-text-splitters 1.1.3, given the stripped text."""
    assert [text[start:end] for start, end in spans(text, size, overlap)] == pieces


def test_an_overlap_that_fills_a_piece_is_refused():
    """It would never come to an end."""
    with pytest.raises(ValueError, match="overlap 5"):
        list(spans("text", 5, 5))
