"""PubMed's baseline, `pubmed25n0001.xml.gz` and the like: an abstract is one passage, as in MedRAG.

Read are PubmedArticle and PubmedBookArticle: PMID, ArticleTitle (VernacularTitle where there is none) and Abstract,
whose AbstractText elements are joined by spaces, labels such as METHODS left out, as MedRAG does. OtherAbstract is not
read. The DTD is NLM's PubMedArticle of 2019 to 2025; records are children of PubmedArticleSet.

**Why** not line by line, as MedRAG reads it: inline markup breaks its titles and abstracts apart. An exponent keeps a
mark, `10<sup>9</sup>` is read as `10^9`: another number would be a false statement.

**Why** retracted publications are refused: a passage is there to be believed. MedRAG keeps them.

**Why** DeleteCitation is only named: it stands in the daily update files, not in the baseline, and deletes what other
files hold. A later version of a record in an update file stands beside the earlier one. Use a baseline.

NLM claims no copyright in PubMed; publishers or authors may hold it in abstracts, hence `LicenseRef-NLM-PubMed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtrinity25m.errors import RefusedError
from medtrinity25m.knowledge.corpora.passage import TOO_LONG, Origin, Read, word
from medtrinity25m.knowledge.corpora.stream import DAMAGED, Stream, no_entities, opened, parser_options, xml_library

LICENSE = "LicenseRef-NLM-PubMed"
ROOTS = ("PubmedArticleSet", "PubmedBookArticleSet")
MAX_RECORD = 16 << 20  # bytes between the ends of two records; the longest, with thousands of authors, have one million
_RECORDS = ("PubmedArticle", "PubmedBookArticle", "DeleteCitation")
_NUMBER = re.compile(r"[+\-−–]?\d+")
_NO_TITLE = ("", "[Not Available].", "[Not Available]")


def read(
    path: Path,
    *,
    corpus: str,
    license: str | None = None,  # noqa: A002  # SPDX's word
    name: str | None = None,
    cache: Path | None = None,
) -> Iterator[Read]:
    """Yield the abstracts of a PubMed XML file, packed or not, and what was refused of it, in the file's order.

    Args:
        path: the file.
        corpus: names the corpus.
        license: of the abstracts, `LICENSE` if None.
        name: names the file in locators, its own name if None.
        cache: not used: nothing has to be unpacked.

    Raises:
        RefusedError: the file as a whole cannot be used; passages yielded before must not be kept.
    """
    del cache
    origin = Origin(corpus, license or LICENSE, name or path.name)
    with opened(path, origin.name) as stream:
        for record in _records(stream, origin.name):
            if record.tag == "DeleteCitation":
                for pmid in record.iterfind("PMID"):
                    what = f"PMID={word(pmid.text or '')}"
                    yield origin.refuse(what, "knowledge.deleted", "NLM deleted the citation; nothing was removed")
            else:
                yield _passage(record, origin)


def _records(stream: Stream, name: str) -> Iterator[Any]:
    """Yield each complete record; what lies behind is let go, so that memory does not grow with the file."""
    etree = xml_library()
    parser = etree.XMLPullParser(events=("start", "end"), tag=(*ROOTS, *_RECORDS), **parser_options())
    root, since = None, 0
    try:
        while data := stream.read():
            parser.feed(data)
            since += len(data)
            for event, element in parser.read_events():
                if root is None:
                    root = element
                    no_entities(root, name)
                elif event == "end" and element.getparent() is root:
                    since = 0
                    yield element
            if since > MAX_RECORD:
                raise RefusedError(TOO_LONG, f"{name}: one record has more than {MAX_RECORD:,} bytes")
            if root is not None:
                del root[:-1]
        parser.close()
    except etree.XMLSyntaxError as error:
        raise RefusedError(DAMAGED, f"{name} is no well-formed XML ({error.msg}); fetch the file again") from None
    if root is None or root.tag not in ROOTS:
        raise RefusedError("knowledge.not_pubmed", f"{name} has no PubmedArticleSet at its root")


def _passage(record: Any, origin: Origin) -> Read:
    citation = record.find("BookDocument" if record.tag == "PubmedBookArticle" else "MedlineCitation")
    if citation is None:
        return origin.refuse("PMID=", "knowledge.no_record", "a record without MedlineCitation or BookDocument")
    pmid = f"PMID={word(citation.findtext('PMID') or '')}"
    article = citation if citation.tag == "BookDocument" else citation.find("Article")
    if article is None:
        return origin.refuse(pmid, "knowledge.no_record", "a record without Article")
    if any(kind.text == "Retracted Publication" for kind in article.iterfind("PublicationTypeList/PublicationType")):
        return origin.refuse(pmid, "knowledge.retracted", "the publication is retracted")
    if next(record.iter(xml_library().Entity), None) is not None:
        return origin.refuse(pmid, "knowledge.entities", "the record has XML entities that nothing defines")
    title = next((words for words in _titles(article) if words.strip() not in _NO_TITLE), "")
    text = " ".join(_words(part) for part in article.iterfind("Abstract/AbstractText"))
    return origin.read(pmid, title, text)


def _titles(article: Any) -> Iterator[str]:
    for tag in ("ArticleTitle", "VernacularTitle", "Book/BookTitle"):
        if (element := article.find(tag)) is not None:
            yield _words(element)


def _words(element: Any) -> str:
    """Return an element's text, markup taken off; a number raised behind a digit keeps a `^`."""
    parts = [element.text or ""]
    for child in element:
        inner = _words(child)
        if child.tag == "sup" and parts[-1][-1:].isdigit() and _NUMBER.fullmatch(inner.strip()):
            inner = "^" + inner.strip()
        parts += [part for part in (inner, child.tail or "") if part]
    return "".join(parts)
