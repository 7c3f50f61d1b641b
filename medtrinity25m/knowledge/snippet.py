"""A snippet: one passage of a knowledge corpus, the piece that is retrieved, cited and shown.

The word is MedRAG's (Xiong et al. 2024), whose chunks can be used as they are. `triplet.Passage` is a citation: the id
of a snippet and how well it matched.
"""

from __future__ import annotations

import hashlib

from pydantic import Field

from medtrinity25m.triplet import Frozen

UNSTATED = "LicenseRef-unstated"
"""License of a passage about whose license nobody said anything: its text is not passed on."""

ID_DIGITS = 24  # 96 bits: among 60 million snippets two ids meet by chance once in 4e13


class Snippet(Frozen):
    """One passage of a corpus.

    Args:
        id: `<corpus>:<24 hex digits>` of title and text, so equal passages have equal ids wherever they came from.
        title: what it is a passage of: the article, `<title> -- <section>` in StatPearls, the term in an ontology.
        text: the passage, plain text.
        corpus: lower-case name of the corpus.
        license: SPDX id or LicenseRef-… of the text.
        locator: file and record within the corpus: `pubmed25n0001.xml.gz#PMID=123`.
        offset: character (code point) of the record's text at which the passage begins.
        terms: vocabulary ids (modality, anatomy, disease) that the passage is about, sorted.
    """

    id: str
    title: str
    text: str = Field(min_length=1)
    corpus: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    license: str
    locator: str
    offset: int = Field(default=0, ge=0)
    terms: tuple[str, ...] = ()


def snippet_id(corpus: str, title: str, text: str) -> str:
    """Return the id of a passage: it depends on what it says and on nothing else."""
    digest = hashlib.sha256(f"{title}\x1f{text}".encode()).hexdigest()
    return f"{corpus}:{digest[:ID_DIGITS]}"
