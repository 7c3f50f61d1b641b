"""Corpus files in the layouts of NLM, NCBI and MedRAG, small and written by hand."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from medtrinity25m.knowledge.corpora.passage import Read, Refusal
from medtrinity25m.knowledge.snippet import Snippet

PUBMED_HEAD = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN"
  "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">
"""
STATPEARLS_LICENSE = """<license license-type="open-access" xlink:href="https://creativecommons.org/licenses/by-nc-nd/4.0/">
<license-p>This book is distributed under the terms of the Creative Commons
Attribution-NonCommercial-NoDerivatives 4.0 International (CC BY-NC-ND 4.0).</license-p></license>"""


def article(pmid: int | str, title: str, abstract: str, extra: str = "") -> str:
    """A PubmedArticle; title and abstract are XML, an abstract without markup becomes one AbstractText."""
    if abstract and not abstract.startswith("<AbstractText"):
        abstract = f"<AbstractText>{abstract}</AbstractText>"
    held = (
        f"<Abstract>{abstract}<CopyrightInformation>Copyright A.</CopyrightInformation></Abstract>" if abstract else ""
    )
    return f"""<PubmedArticle>
  <MedlineCitation Status="MEDLINE" Owner="NLM" IndexingMethod="Automated">
    <PMID Version="1">{pmid}</PMID>
    <DateRevised><Year>2024</Year><Month>11</Month><Day>20</Day></DateRevised>
    <Article PubModel="Print-Electronic">
      <Journal><ISSN IssnType="Print">0033-8419</ISSN><Title>Radiology</Title></Journal>
      <ArticleTitle>{title}</ArticleTitle>
      {held}
      <AuthorList CompleteYN="Y"><Author ValidYN="Y"><LastName>Doe</LastName></Author></AuthorList>
      <Language>eng</Language>
      {extra}
    </Article>
    <OtherAbstract Type="Publisher" Language="fre"><AbstractText>Autre texte.</AbstractText></OtherAbstract>
    <CommentsCorrectionsList><CommentsCorrections RefType="Cites"><PMID Version="1">1</PMID></CommentsCorrections>
    </CommentsCorrectionsList>
  </MedlineCitation>
  <PubmedData><ArticleIdList><ArticleId IdType="pubmed">{pmid}</ArticleId></ArticleIdList></PubmedData>
</PubmedArticle>
"""


def pubmed(path: Path, *records: str, head: str = PUBMED_HEAD) -> Path:
    """Write a PubMed file, packed if its name says so."""
    data = f"{head}<PubmedArticleSet>\n{''.join(records)}</PubmedArticleSet>\n".encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def statpearls(title: str, sections: str, license_: str = STATPEARLS_LICENSE, book: str = "StatPearls") -> bytes:
    """A StatPearls article; `sections` is XML."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE book-part-wrapper PUBLIC "-//NLM//DTD BITS Book Interchange DTD v2.0 20151225//EN" "BITS-book2.dtd">
<book-part-wrapper dtd-version="2.0" xmlns:xlink="http://www.w3.org/1999/xlink">
<book-meta><book-id book-id-type="pmcid">statpearls</book-id>
<book-title-group><book-title>{book}</book-title></book-title-group>
<publisher><publisher-name>{book} Publishing</publisher-name></publisher></book-meta>
<book-part book-part-type="chapter" id="article-100"><book-part-meta>
<book-part-id book-part-id-type="pmcid">article-100</book-part-id>
<title-group><title>{title}</title></title-group>
<permissions><copyright-statement>Copyright 2024</copyright-statement>{license_}</permissions>
</book-part-meta><body>{sections}</body>
<back><ref-list><title>References</title><ref id="r1"><mixed-citation>Doe J. 2020.</mixed-citation></ref></ref-list>
</back></book-part></book-part-wrapper>
""".encode()


def section(title: str, *children: str) -> str:
    """A section of NXML; children without markup are paragraphs."""
    body = "".join(child if child.startswith("<") else f"<p>{child}</p>" for child in children)
    return f"<sec><title>{title}</title>{body}</sec>"


def tar(path: Path, files: Mapping[str, bytes], *more: tarfile.TarInfo) -> Path:
    """Write a tar archive of files, and members without content."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return path


def jsonl(path: Path, *chunks: Mapping[str, object] | bytes) -> Path:
    """Write MedRAG chunks, or lines as they are."""
    lines = [chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() for chunk in chunks]
    data = b"\n".join(lines)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def kept(read: Sequence[Read]) -> list[Snippet]:
    """The passages among what a reader yielded."""
    return [one for one in read if isinstance(one, Snippet)]


def codes(read: Sequence[Read]) -> list[str]:
    """The reason codes among what a reader yielded."""
    return [one.code for one in read if isinstance(one, Refusal)]
