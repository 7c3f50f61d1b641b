"""Textbooks: pieces that lead back to their place in the book."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.knowledge.corpora.passage import flat, seen
from medtrinity25m.knowledge.corpora.textbook import read


def pieces(path: Path):
    return list(read(path, corpus="textbook", license="LicenseRef-mine"))


def test_a_book_is_cut_into_pieces_of_at_most_a_thousand_characters(tmp_path):
    """Title from the file's name, spaces single, the locator says which characters."""
    book = "\ufeffThe lung\r\nhas lobes.\r\n\r\n" + "A sentence on lobes. " * 200
    path = tmp_path / "Anatomy.txt"
    path.write_bytes(book.encode())

    found = pieces(path)

    assert found[0].title == "Anatomy"
    assert found[0].text == "The lung has lobes."
    assert found[0].locator == "Anatomy.txt#chars=0-19"
    assert len(found) > 4
    assert all(len(one.text) <= 1000 for one in found)


@given(st.lists(st.text(alphabet="abc .é\n\r\t\u200b", max_size=400), max_size=8))
def test_a_piece_is_found_again_by_its_locator(tmp_path_factory, paragraphs):
    """The characters of the book it names are its text, but for runs of spaces; the offset is the first of them."""
    book = "\n\n".join(paragraphs)
    path = tmp_path_factory.mktemp("x") / "a.txt"
    path.write_bytes(book.encode())

    for one in pieces(path):
        start, end = map(int, one.locator.partition("#chars=")[2].split("-"))
        assert flat(seen(book)[start:end]) == one.text
        assert one.offset == start


@pytest.mark.parametrize("name", ["book.md", "book.md.gz"])
def test_markdown_is_cut_at_its_headings(tmp_path, name):
    """Each piece is titled by book and heading; a `#` in code is none."""
    text = "Preface.\n\n# Chest\n\nLungs.\n```\n# no heading\n```\n## Pleura ##\nFluid.\n#hash\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())

    assert [(one.title, one.text, one.offset) for one in pieces(path)] == [
        ("book", "Preface.", 0),
        ("book -- Chest", "Lungs. ``` # no heading ```", text.index("Lungs")),
        ("book -- Pleura", "Fluid. #hash", text.index("Fluid")),
    ]


def test_a_book_that_is_no_utf8_is_refused_with_the_place(tmp_path):
    """Latin-1 is the usual one."""
    path = tmp_path / "a.txt"
    path.write_bytes("Röntgen".encode("latin-1"))

    with pytest.raises(RefusedError, match=r"knowledge\.not_utf8: a\.txt: byte 2 is no UTF-8"):
        pieces(path)


def test_a_license_must_be_given(tmp_path):
    """Most textbooks are under copyright."""
    path = tmp_path / "a.txt"
    path.write_text("Text.")

    with pytest.raises(ConfigError, match="--license"):
        list(read(path, corpus="textbook"))
