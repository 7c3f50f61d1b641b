"""Which format a file is of, by its content, and how its passages are counted."""

from __future__ import annotations

import gzip
import tarfile

import pytest

from corpus_files import article, jsonl, pubmed, section, statpearls, tar
from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.corpora import FORMATS, default_corpus, detect, document


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("a.xml", b"<?xml version='1.0'?>\n<!-- <article> -->\n<PubmedArticleSet/>", "pubmed"),
        ("a.xml", b"<!DOCTYPE PubmedArticleSet [<!ENTITY a '<article>'>]><PubmedArticleSet>", "pubmed"),
        ("a.dat", b"\xef\xbb\xbf <book-part-wrapper dtd-version='2.0'>", "nxml"),
        ("a.xml", b"<article xmlns:xlink='http://www.w3.org/1999/xlink'>", "nxml"),
        ("a.dat", b'{"id": "a_0", "content": "Text."}\n{"id', "medrag"),
        ("a.dat", b'{"contents": "Text."}', "medrag"),
        ("a.txt", b"Text.", "textbook"),
        ("A.MD", "R\u00f6ntgen".encode(), "textbook"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_format_is_that_of_the_first_bytes(tmp_path, name, data, found, packed):
    """Packed or not; a name counts for plain text alone."""
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)

    assert detect(path) == found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.xml", b"<html><body>"),
        ("a.jsonl", b'{"question": "?"}'),
        ("a.jsonl", b"{"),
        ("a.csv", b"a,b"),
        ("a.txt", b""),
        ("a.txt", b"\0\0"),
        ("a.xml.gz", gzip.compress(b"<PubmedArticleSet>", mtime=0)[:6]),
        ("a.pdf", b"%PDF-1.7"),
    ],
)
def test_what_is_none_of_them_is_named(tmp_path, name, data):
    """And the user is told what to say."""
    path = tmp_path / name
    path.write_bytes(data)

    with pytest.raises(ConfigError, match=rf"{name}: neither of PubMed XML.*--format"):
        detect(path)


def test_files_as_they_are_downloaded_are_known(tmp_path):
    """The four, written in their layouts; StatPearls by name or content, other books are the bookshelf's."""
    book = {"sp/article-1.nxml": statpearls("T", section("A", "Text."))}
    other = tmp_path / "gene.nxml"
    other.write_bytes(statpearls("T", section("A", "Text."), book="GeneReviews").replace(b">statpearls<", b">gene<"))
    single = tmp_path / "article-1.nxml"
    single.write_bytes(book["sp/article-1.nxml"])
    files = {
        pubmed(tmp_path / "pubmed25n0001.xml.gz", article(1, "T.", "Text.")): ("pubmed", "pubmed"),
        tar(tmp_path / "statpearls_NBK430685.tar.gz", book, tarfile.TarInfo("sp")): ("nxml", "statpearls"),
        single: ("nxml", "statpearls"),
        other: ("nxml", "bookshelf"),
        jsonl(tmp_path / "chunk.jsonl", {"content": "Text."}): ("medrag", "medrag"),
    }

    assert {path: (detect(path), default_corpus(detect(path), path)) for path in files} == files
    assert set(FORMATS) == {"pubmed", "nxml", "textbook", "medrag"}


@pytest.mark.parametrize(
    ("locator", "of"),
    [
        ("pubmed25n0001.xml.gz#PMID=12", "pubmed25n0001.xml.gz#PMID=12"),
        ("a.tar.gz!/sp/article-1.nxml#p=7", "a.tar.gz!/sp/article-1.nxml"),
        ("Gray.txt#chars=0-998", "Gray.txt"),
        ("Gray.jsonl#id=Anatomy_Gray_12", "Gray.jsonl#id=Anatomy_Gray"),
        ("p.jsonl#id=PMID:12", "p.jsonl#id=PMID:12"),
        ("a.jsonl#line=3", "a.jsonl"),
    ],
)
def test_passages_of_one_document_share_it(locator, of):
    """An abstract is a document, a chapter is one, a book is one."""
    assert document(locator) == of
