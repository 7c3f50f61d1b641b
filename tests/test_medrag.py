"""MedRAG's JSONL: chunks as they are, bad lines refused one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus_files import codes, jsonl, kept
from medtrinity25m.errors import RefusedError
from medtrinity25m.knowledge.corpora.medrag import MAX_LINE, read
from medtrinity25m.knowledge.snippet import UNSTATED

CHUNK = {
    "id": "Anatomy_Gray_0",
    "title": "Anatomy_Gray",
    "content": "What is anatomy?",
    "contents": "A. What is anatomy?",
}


def chunks(path: Path):
    return list(read(path, corpus="textbooks", license="LicenseRef-mine"))


@pytest.mark.parametrize("name", ["Anatomy_Gray.jsonl", "Anatomy_Gray.jsonl.gz"])
def test_a_chunk_is_a_passage_as_it_is(tmp_path, name):
    """Title, content, license and id."""
    (found,) = chunks(jsonl(tmp_path / name, CHUNK))

    assert (found.title, found.text, found.license, found.locator) == (
        "Anatomy_Gray", "What is anatomy?", "LicenseRef-mine", f"{name}#id=Anatomy_Gray_0",
    )  # fmt: skip


def test_contents_stands_in_for_content(tmp_path):
    """And a chunk may lack id and title."""
    (found,) = chunks(jsonl(tmp_path / "a.jsonl", {"contents": "Only this."}))

    assert (found.title, found.text, found.locator) == ("", "Only this.", "a.jsonl#line=1")


def test_a_bad_line_costs_a_line(tmp_path):
    """No JSON, nested without end, no UTF-8, too long, no object, no text, null, empty; the rest is read."""
    lines = [
        b"{", b"[" * 100_000, b'{"content": "\xff"}', b'{"content": "' + b"x" * MAX_LINE + b'"}', b"7",
        b'{"content": 7}', b'{"content": null}', b'{"content": " \\n "}', b'{"content": "Good.", "title": 3}', b"",
    ]  # fmt: skip
    path = jsonl(tmp_path / "a.jsonl", *lines, CHUNK)

    found = chunks(path)

    assert codes(found) == [
        "knowledge.not_json", "knowledge.not_json", "knowledge.not_utf8", "knowledge.too_long", "knowledge.not_medrag",
        "knowledge.not_medrag", "knowledge.not_medrag", "knowledge.empty", "knowledge.not_medrag",
    ]  # fmt: skip
    assert [one.text for one in kept(found)] == ["What is anatomy?"]


@given(st.dictionaries(st.sampled_from(["id", "title", "content"]), st.text() | st.none() | st.integers()))
def test_any_object_gives_a_passage_or_a_reason(tmp_path_factory, chunk):
    """Half surrogates, control characters and what JSON allows otherwise included."""
    path = jsonl(
        tmp_path_factory.mktemp("x") / "a.jsonl", chunk, b'{"title": "a\\ud800b", "content": "c\\udfffd\\u0000"}'
    )

    found = chunks(path)

    assert len(found) == 2
    assert (kept(found)[-1].title, kept(found)[-1].text) == ("ab", "cd")
    for one in found:
        json.dumps(one.locator).encode()
        one.locator.encode()


def test_chunks_without_a_license_are_kept_as_such(tmp_path):
    """MedRAG's files state none; their text is not released."""
    (found,) = read(jsonl(tmp_path / "a.jsonl", CHUNK), corpus="textbooks")

    assert found.license == UNSTATED


def test_a_cut_packed_file_is_refused_as_a_whole(tmp_path):
    """As for any other format."""
    path = jsonl(tmp_path / "a.jsonl.gz", *[CHUNK | {"id": str(number)} for number in range(100)])
    path.write_bytes(path.read_bytes()[:-5])

    with pytest.raises(RefusedError, match=r"knowledge\.damaged"):
        chunks(path)
