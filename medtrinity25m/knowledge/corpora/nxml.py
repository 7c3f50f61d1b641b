"""Books and articles in NLM's XML, StatPearls above all: an archive, one `.nxml` or folders of them.

Passages are cut as MedRAG's `statpearls.py` cuts them. In each section a paragraph is a passage titled
`<title> -- <section>`, or `<title> -- <section> -- <subtitle>` under a paragraph that is one bold phrase. A paragraph
below 200 characters joins the passage before it while both stay below 1000; so does a list, else it is a passage, else
each of its items is one. Words in markup are set apart by spaces. Tables, figures and boxes are left out.

On 400 generated articles of all these kinds the 6,458 passages were those of MedRAG's script, spaces apart.

Where that script would stop or lose text this reader goes on: a section without a title, a title with markup in it,
paragraphs outside of sections. Such files have passages that MedRAG's lack.

The license is what the document states; StatPearls states CC BY-NC-ND 4.0. `license` is for documents that state none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtrinity25m.errors import RefusedError
from medtrinity25m.knowledge.corpora.passage import TOO_LONG, Origin, Read, Refusal, flat
from medtrinity25m.knowledge.corpora.stream import DAMAGED, no_entities, opened, parser_options, xml_library
from medtrinity25m.readers.tar_archive import TarArchive

STATPEARLS_LICENSE = "CC-BY-NC-ND-4.0"
ROOTS = ("book-part-wrapper", "book-part", "book", "article")
ARCHIVES = (".tar", ".tar.gz", ".tgz")
NAMES = (".nxml", ".xml")
MAX_DOCUMENT = 64 << 20  # bytes; the longest StatPearls article has less than one million
SHORT, LONG = 200, 1000  # characters, MedRAG's
_CREATIVE = re.compile(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)")
_XLINK = "{http://www.w3.org/1999/xlink}href"


def read(
    path: Path,
    *,
    corpus: str,
    license: str | None = None,  # noqa: A002  # SPDX's word
    name: str | None = None,
    cache: Path | None = None,
) -> Iterator[Read]:
    """Yield the passages of one document or of an archive of documents, and what was refused.

    Args:
        path: an `.nxml` or `.xml` file, packed or not, or a `.tar`, `.tar.gz` or `.tgz` of them.
        corpus: names the corpus.
        license: of documents that state none.
        name: names the file in locators, its own name if None.
        cache: the folder that an archive is unpacked to.

    Raises:
        RefusedError: the file as a whole cannot be used; passages yielded before must not be kept.
    """
    name = name or path.name
    if path.name.casefold().endswith(ARCHIVES):
        yield from _archive(path, name, corpus, license, cache)
        return
    with opened(path, name) as stream:
        data = stream.all(MAX_DOCUMENT)
    yield from _document(data, name, corpus, license)


def _archive(path: Path, name: str, corpus: str, license_: str | None, cache: Path | None) -> Iterator[Read]:
    archive = TarArchive(name, path, cache)
    members = archive.members()
    for address, refusal in members.refused:
        if address.casefold().endswith(NAMES):
            yield Refusal(address, refusal.code, refusal.detail)
    for address in members.addresses:
        if not address.casefold().endswith(NAMES):
            continue  # pictures lie beside the text
        member = address.removeprefix(f"{name}!/")
        try:
            yield from _document(_member(archive, member), address, corpus, license_)
        except RefusedError as refusal:
            yield Refusal(address, refusal.code, refusal.detail)


def _member(archive: TarArchive, member: str) -> bytes:
    if archive.size(member) > MAX_DOCUMENT:
        raise RefusedError(TOO_LONG, f"{archive.address(member)} has more than {MAX_DOCUMENT:,} bytes")
    return archive.read(member)


def _document(data: bytes, name: str, corpus: str, license_: str | None) -> list[Read]:
    etree = xml_library()
    try:
        root = etree.fromstring(data, etree.XMLParser(**parser_options()))
    except etree.XMLSyntaxError as error:
        raise RefusedError(DAMAGED, f"{name} is no well-formed XML ({error.msg}); fetch the file again") from None
    no_entities(root, name)
    _no_namespace(root)
    if root.tag not in ROOTS:
        raise RefusedError("knowledge.not_nxml", f"{name} has none of {', '.join(ROOTS)} at its root")
    if next(root.iter(etree.Entity), None) is not None:
        raise RefusedError("knowledge.entities", f"{name} has XML entities that nothing defines")
    stated = _license(root) or license_ or (STATPEARLS_LICENSE if _is_statpearls(root) else None)
    if stated is None:
        raise RefusedError("knowledge.no_license", f"{name} states no license; give it with --license")
    origin, offset, found = Origin(corpus, stated, name), 0, []
    for number, (title, text) in enumerate(_passages(root)):
        found.append(origin.read(f"p={number}", title, text, offset))
        offset += len(text) + 1  # the record's text is its passages, joined by spaces
    return found


def _no_namespace(root: Any) -> None:
    """Take the namespace off the tags: BITS documents may have one by default, StatPearls has none."""
    for element in root.iter():
        if isinstance(element.tag, str) and "}" in element.tag and not element.tag.startswith("{http://www.w3.org/"):
            element.tag = element.tag.rpartition("}")[2]


def _license(root: Any) -> str | None:
    """Return the SPDX id of the Creative Commons license that the document states for itself."""
    metas = root.iter("book-part-meta", "article-meta", "book-meta", "collection-meta")  # figures have their own
    for element in (found for meta in metas for found in meta.iterfind("permissions/license")):
        said = " ".join(
            [element.get(_XLINK) or "", *(link.get(_XLINK) or "" for link in element.iter()), _text(element)]
        )
        if found := _CREATIVE.search(said):
            return f"CC-{found[1].upper()}-{found[2]}"
        if "creativecommons.org/publicdomain/zero/1.0" in said:
            return "CC0-1.0"
    return None


def _is_statpearls(root: Any) -> bool:
    said = [*root.iterfind(".//book-title"), *root.iterfind(".//publisher-name")]
    return any("statpearls" in _text(element).casefold() for element in said)


def _passages(root: Any) -> Iterator[tuple[str, str]]:
    """Yield title and text of each passage, in the document's order of sections."""
    title = _title(root)
    for holder in root.iter("abstract", "body", "sec"):
        heading = holder.find("title") if holder.tag == "sec" else None
        words = "" if heading is None else _text(heading)
        section = _Section([part for part in (title, words) if part])
        for element in holder:
            section.add(element)
        yield from section.passages


def _title(root: Any) -> str:
    for place in (".//book-part-meta/title-group/title", ".//article-meta/title-group/article-title", ".//title"):
        if (element := root.find(place)) is not None:
            return _text(element)
    return ""


@dataclass
class _Section:
    """The passages of one section as its children come."""

    heads: list[str]
    passages: list[tuple[str, str]] = field(default_factory=list)
    subtitle: str | None = None
    open: bool = False
    """The last passage may be added to."""
    after_subtitle: bool = False

    def add(self, element: Any) -> None:
        """Take the next child."""
        if _is_subtitle(element):
            self.subtitle, self.open, self.after_subtitle = _text(element), False, True
            return
        if element.tag == "p":
            self._paragraph(_text(element))
        elif element.tag == "list":
            self._list([text for text in map(_text, element) if text])
            if self.after_subtitle:
                self.subtitle = None
        self.after_subtitle = False

    def _paragraph(self, text: str) -> None:
        if self.open and len(text) < SHORT and len(self.passages[-1][1]) + len(text) < LONG:
            self._extend(text)
        elif text:
            self._append(text)
            self.open = True

    def _list(self, items: list[str]) -> None:
        joined = " ".join(items)
        if not items:
            return
        if self.open and len(self.passages[-1][1]) + len(joined) < LONG:
            self._extend(joined)
        elif len(joined) < LONG:
            self._append(joined)
            self.open = True
        else:
            for item in items:
                self._append(item)
            self.open = False

    def _append(self, text: str) -> None:
        self.passages.append((" -- ".join([*self.heads, *([self.subtitle] if self.subtitle else [])]), text))

    def _extend(self, text: str) -> None:
        title, before = self.passages[-1]
        if text:
            self.passages[-1] = (title, f"{before} {text}")


def _is_subtitle(element: Any) -> bool:
    """Say whether a paragraph is one bold phrase, which StatPearls sets where others have a section."""
    if element.tag != "p" or len(element) != 1 or element[0].tag != "bold":
        return False
    return not (element[0].tail or "").strip()


def _text(element: Any) -> str:
    """Return the words of an element, those in markup set apart by spaces."""
    return flat(" ".join(part for part in (piece.strip() for piece in element.itertext()) if part))
