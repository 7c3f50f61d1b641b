"""BM25: a rare word finds its passage, and the order of passages and words changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medtrinity25m.knowledge.lexical import Lexical, LexicalBuilder, best, tokens_of
from medtrinity25m.knowledge.snippet import Snippet

TEXTS = ("Drusen lie under the retina.", "The retina is thin.", "A thin wall.", "of the and")


@pytest.fixture
def written(tmp_path: Path) -> Lexical:
    """The index of four texts, the last of words that do not count."""
    builder = LexicalBuilder()
    for number, text in enumerate(TEXTS):
        builder.add(Snippet(id=f"made:{number}", title="", text=text, corpus="made", license="0", locator="0"))
    builder.save(tmp_path / "bm25")
    return Lexical.load(tmp_path / "bm25")


def test_the_rarer_word_weighs_more(written: Lexical) -> None:
    """`drusen` stands in one text, `thin` in two; a text that shares no word has no score."""
    scores = written.scores("thin drusen")
    assert scores[0] > scores[1] > 0 == scores[3]
    assert best(scores, np.ones(4, np.bool_), 2) == [0, 1], "equal ones by row"
    assert best(scores, np.array([False, True, False, True]), 2) == [1]


def test_a_query_is_a_set_of_words(written: Lexical) -> None:
    """Order, case, plural and repetition of words do not change a bit; unknown words add nothing."""
    expected = written.scores("thin drusen")
    for same in ("drusen thin", "DRUSEN, thin!", "thin thin drusen zebra", "the thin of drusen"):
        assert (written.scores(same) == expected).all()
    assert not written.scores("zebra").any()
    assert not written.scores("").any()
    assert tokens_of("Nodules, masses & cysts of the uterus") == ["nodule", "masse", "cyst", "uterus"]


def test_equal_scores_are_ordered_by_row() -> None:
    """Not by where a partial sort happens to leave them."""
    scores = np.array([1, 3, 1, 3, 1, 1], np.float32)
    assert best(scores, np.ones(6, np.bool_), 4) == [1, 3, 0, 2]
