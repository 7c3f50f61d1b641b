"""The store: files of every format by one call, resumed after a kill, one snapshot whatever the order, faults named."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpus_files import article, jsonl, pubmed, section, statpearls, tar
from medtrinity25m.errors import ConfigError, LockedError
from medtrinity25m.knowledge import parts
from medtrinity25m.knowledge.journal import Journal
from medtrinity25m.knowledge.snippet import Snippet, snippet_id
from medtrinity25m.knowledge.store import CorpusCount, Store

MINE = "LicenseRef-mine"
ADD = """
import sys
from pathlib import Path
from medtrinity25m.knowledge.store import Store
Store(Path(sys.argv[1])).add([Path(sys.argv[2])], license="LicenseRef-mine", say=lambda line: print(line, flush=True))
"""


def silent(line: str) -> None:
    """Say nothing."""


@pytest.fixture
def corpora(tmp_path) -> Path:
    """A folder with a file of each format, and things that are none."""
    folder = tmp_path / "given"
    (folder / "deep").mkdir(parents=True)
    records = [
        article(number, f"Pneumothorax {number}.", f"Air in the pleural space, case {number}.") for number in range(40)
    ]
    pubmed(folder / "pubmed25n0001.xml.gz", *records[:25], article(900, "No abstract.", ""))
    pubmed(folder / "deep" / "pubmed25n0002.xml.gz", *records[20:])
    book = {"sp/article-1.nxml": statpearls("Glioma", section("Etiology", "Unknown in most."))}
    tar(folder / "statpearls_NBK430685.tar.gz", book | {"sp/fig.png": b"\x89PNG"})
    (folder / "article-2.nxml").write_bytes(statpearls("Melanoma", section("Histopathology", "Atypical melanocytes.")))
    jsonl(
        folder / "Gray.jsonl",
        {"id": "Gray_0", "title": "Gray", "content": "The heart."},
        b"{",
        {"id": "Gray_1", "content": "The lung."},
    )
    (folder / "book.md").write_text("# Chest\n\nLungs.\n")
    (folder / "picture.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "odd.xml").write_text("<html/>")
    (folder / "link.txt").symlink_to(folder / "book.md")
    return folder


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "base")


def said(store: Store) -> list[tuple[str, str]]:
    return [(one.id, one.text) for one in store.snippets()]


def snippet(corpus: str, text: str, title: str = "Title", **fields: object) -> Snippet:
    return Snippet(
        id=snippet_id(corpus, title, text),
        title=title,
        text=text,
        corpus=corpus,
        license="CC-BY-4.0",
        locator="x",
        **fields,
    )


def test_a_folder_of_every_format_is_added_by_one_call(store, corpora):
    """Counts by corpus; what is no corpus file is counted or named; links are not followed."""
    lines: list[str] = []

    added = store.add([corpora], license=MINE, say=lines.append)

    assert store.corpora() == [
        CorpusCount("medrag", MINE, 1, 1, 2, 1, 0),
        CorpusCount("pubmed", MINE, 2, 45, 45, 0, 1),
        CorpusCount("statpearls", "CC-BY-NC-ND-4.0", 2, 2, 2, 0, 0),
        CorpusCount("textbook", MINE, 1, 1, 1, 0, 0),
    ]
    assert (added.files, added.skipped, added.ignored, added.snippets, added.empty) == (6, 0, 1, 50, 1)
    assert added.refused == {"knowledge.not_json": 1}
    assert [(one.locator, one.code) for one in added.failed] == [("odd.xml", "knowledge.unknown")]
    assert [(corpus, one.locator) for corpus, one in store.refusals()] == [("medrag", "Gray.jsonl#line=2")]
    assert len(lines) == 7
    assert store.faults() == []


def test_passages_come_by_id_once_each(store, corpora):
    """Five records stand in two files; a corpus can be asked for alone."""
    store.add([corpora], license=MINE, say=silent)

    found = list(store.snippets())

    assert [one.id for one in found] == sorted({one.id for one in found})
    assert len(found) == 45
    assert len(list(store.snippets("pubmed"))) == 40
    assert {one.corpus for one in store.snippets("statpearls")} == {"statpearls"}
    assert list(store.snippets("nothing")) == []


def test_a_passage_says_what_it_is_about(store, tmp_path):
    """Terms are found on the way in; those a packaged corpus states are kept."""
    store.add([pubmed(tmp_path / "a.xml", article(1, "Pneumothorax on chest radiographs.", "Text."))], say=silent)
    store.add_snippets("notes", [snippet("notes", "Text.", terms=("glioma", "ct"))])

    assert "pneumothorax" in next(store.snippets("pubmed")).terms
    assert next(store.snippets("notes")).terms == ("ct", "glioma")


def test_passages_are_got_by_id(store, corpora):
    """In the order asked for; unknown ones and unknown corpora are left out."""
    store.add([corpora], license=MINE, say=silent)
    found = list(store.snippets())
    asked = random.Random(0).sample([one.id for one in found], 20)

    got = store.get([*asked, "pubmed:0", "nothing:0", asked[0]])

    assert list(got) == asked
    assert got == {one.id: one for one in found if one.id in asked}


def test_the_snapshot_is_that_of_what_is_said(corpora, tmp_path):
    """Not of the order, the number, the names or the packing of files."""
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    one.add([corpora], license=MINE, say=silent)
    names = sorted(
        path for path in corpora.rglob("*") if path.is_file() and path.suffix != ".jpg" and not path.is_symlink()
    )
    random.Random(1).shuffle(names)
    for number, path in enumerate(names):
        if path.name == "odd.xml":
            continue
        copy = tmp_path / f"copy{number}" / path.name
        copy.parent.mkdir()
        shutil.copy(path, copy)
        if path.name == "pubmed25n0002.xml.gz":
            copy = copy.rename(copy.with_name("other.xml"))
            copy.write_bytes(gzip.decompress(path.read_bytes()))
        two.add([copy], license=MINE, say=silent)

    assert one.snapshot() == two.snapshot()
    assert said(one) == said(two)
    before = one.snapshot()
    one.add_snippets("notes", [snippet("notes", "More.")])
    assert one.snapshot() != before


def test_a_file_that_is_there_is_skipped(store, corpora):
    """By its content, whatever it is called now; the base does not change."""
    store.add([corpora], license=MINE, say=silent)
    before = tree(store.folder)
    (corpora / "Gray.jsonl").rename(corpora / "Gray2.jsonl")

    again = store.add([corpora, corpora / "article-2.nxml"], license=MINE, say=silent)

    assert (again.files, again.skipped, again.snippets) == (0, 6, 0)
    assert tree(store.folder) == before


def test_a_part_that_was_lost_is_made_again(store, corpora):
    """Adding is the cure for a damaged part."""
    store.add([corpora], license=MINE, say=silent)
    before = said(store)
    part = next((store.folder / "corpora" / "pubmed").glob("*.parquet"))
    part.write_bytes(b"PAR1")

    assert store.add([corpora], license=MINE, say=silent).files == 1
    assert (said(store), store.faults()) == (before, [])


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def test_a_killed_add_goes_on_to_the_same_bytes(tmp_path):
    """SIGKILL at four moments, the same command again each time."""
    folder = tmp_path / "given"
    for number in range(8):
        records = [article(n, f"Title {n}.", f"Text {n}.") for n in range(number * 300, number * 300 + 300)]
        pubmed(folder / f"pubmed25n000{number}.xml.gz", *records)
    Store(tmp_path / "whole").add([folder], license=MINE, say=silent)
    command = [sys.executable, "-c", ADD, str(tmp_path / "killed"), str(folder)]
    delays = random.Random(3)
    for kill in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()  # at least one file is done or skipped: the process is at work
        time.sleep(delays.random() / 20)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert kill or 0 < len(Journal(tmp_path / "killed").entries()) < 8

    last = subprocess.run(command, check=True, capture_output=True, text=True)

    assert tree(tmp_path / "killed" / "corpora") == tree(tmp_path / "whole" / "corpora")
    assert Store(tmp_path / "killed").corpora() == Store(tmp_path / "whole").corpora()
    assert Store(tmp_path / "killed").snapshot() == Store(tmp_path / "whole").snapshot()
    assert Store(tmp_path / "killed").faults() == []
    assert last.stderr == ""


def test_what_a_killed_process_left_does_not_count_and_goes(store, corpora):
    """Parts that no line names, half-written files, a torn line; what is not ours stays."""
    store.add([corpora], license=MINE, say=silent)
    before = said(store)
    folder = store.folder / "corpora" / "pubmed"
    stray = folder / f"{'0' * 64}-00000.parquet"
    shutil.copy(next(folder.glob("*.parquet")), stray)
    half = folder / f"{'1' * 64}-00000.parquet.77.part"
    half.touch()
    theirs = folder / "notes.txt"
    theirs.touch()
    with Journal(store.folder).path.open("a") as handle:
        handle.write('{"key": "')

    assert len([fault for fault in store.faults() if "no line of the journal" in fault]) == 2
    assert said(store) == before
    store.add([corpora], license=MINE, say=silent)
    assert (stray.exists(), half.exists(), theirs.exists()) == (False, False, True)
    assert (said(store), store.faults()) == (before, [])


def test_a_second_process_is_told_who_adds(store, corpora):
    """And changes nothing."""
    with Journal(store.folder).writing(), pytest.raises(LockedError, match=f"process {os.getpid()}"):
        store.add([corpora], license=MINE, say=silent)


def test_a_damaged_file_leaves_nothing_and_the_others_are_added(store, corpora):
    """It is named, and tried again once it is whole."""
    path = corpora / "pubmed25n0001.xml.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])

    added = store.add([corpora], license=MINE, say=silent)

    assert [one.code for one in added.failed] == ["knowledge.unknown", "knowledge.damaged"]
    assert len(list((store.folder / "corpora" / "pubmed").iterdir())) == 1
    path.write_bytes(whole)
    assert store.add([corpora], license=MINE, say=silent).files == 1


def test_every_fault_is_named(store, corpora):
    """A flipped bit, a lost part, an id that is not of its content, an order that was changed."""
    store.add([corpora], license=MINE, say=silent)
    store.snapshot()
    flipped, lost = sorted((store.folder / "corpora" / "pubmed").glob("*.parquet"))
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    lost.unlink()
    (order,) = (store.folder / "order" / "pubmed").glob("*/0*.parquet")
    order.write_bytes(order.read_bytes() + b"x")

    faults = store.faults()

    assert [next(path.name for path in (flipped, lost, order) if str(path) in fault) for fault in faults] == [
        path.name for path in (flipped, lost) for _ in [0]
    ] + [order.name]
    assert ["is not what was written" in fault for fault in faults] == [True, False, True]


def test_an_id_that_is_not_of_its_content_is_a_fault(store):
    """Also where every hash is right."""
    store.add_snippets("notes", [snippet("notes", "Text.")])
    journal = Journal(store.folder)
    (entry,) = journal.entries().values()
    (place, _) = journal.files(entry)
    forged = parts.write(place, [row._replace(text="Other.") for row in parts.read(place)])
    journal.record(entry.with_(parts=(forged,)))

    assert any("is not the id of its content" in fault for fault in store.faults())


def test_a_packaged_corpus_replaces_its_earlier_self(store):
    """The order its passages come in does not matter; the same again is skipped."""
    made = [snippet("notes", f"Text {number}.") for number in range(30)]
    assert store.add_snippets("notes", made).snippets == 30
    assert store.add_snippets("notes", reversed(made)).skipped == 1
    before = store.snapshot()
    store.add_snippets("notes", made[:10])
    assert [one.id for one in store.snippets()] == sorted(one.id for one in made[:10])
    store.add_snippets("notes", made)
    assert store.snapshot() == before
    with pytest.raises(ConfigError, match="no passage of notes"):
        store.add_snippets("notes", [snippet("other", "Text.")])


def test_a_corpus_larger_than_a_part_comes_in_order(store, tmp_path, monkeypatch):
    """Many parts, many files in order, one snapshot."""
    path = pubmed(tmp_path / "a.xml", *(article(number, f"Title {number}.", "Text.") for number in range(500)))
    store.add([path], say=silent)
    monkeypatch.setattr(parts, "MAX_ROWS", 30)
    monkeypatch.setattr(parts, "FAN_IN", 4)
    many = Store(tmp_path / "many")
    many.add([path], say=silent)

    assert len(list((many.folder / "corpora" / "pubmed").iterdir())) == 17
    assert (said(many), many.snapshot()) == (said(store), store.snapshot())
    assert len(many.get([one.id for one in store.snippets()])) == 500


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("missing.xml", {}, "neither a file nor a folder"),
        ("odd.bin", {}, r"odd\.bin: neither of .* --format"),
        ("book.txt", {}, "a textbook file states no license; give it with --license"),
        ("book.txt", {"format": "pdf"}, "no format 'pdf'; there are pubmed, nxml"),
        ("book.txt", {"corpus": "My Books"}, "corpus 'My Books'"),
        ("book.txt", {"license": "all mine"}, "license 'all mine'"),
    ],
)
def test_what_the_user_has_to_say_is_asked_for_before_anything_is_written(store, tmp_path, name, options, message):
    """A path, a format, a name or a license that cannot be."""
    (tmp_path / "odd.bin").write_bytes(b"\0\1\2")
    (tmp_path / "book.txt").write_text("Text.")

    with pytest.raises(ConfigError, match=message):
        store.add([tmp_path / name], say=silent, **options)
    assert not store.folder.exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    """No knowledge base is begun in somebody's folder."""
    (tmp_path / "photo.jpg").touch()

    with pytest.raises(ConfigError, match="is no knowledge base"):
        Store(tmp_path).add_snippets("notes", [snippet("notes", "Text.")])
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_an_empty_base_says_nothing(store):
    """No corpora, no passages, a snapshot all the same."""
    assert (store.corpora(), list(store.snippets()), store.get(["a:1"]), store.faults()) == ([], [], {}, [])
    assert len(store.snapshot()) == 64
