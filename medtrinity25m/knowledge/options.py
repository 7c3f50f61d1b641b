"""The `knowledge` part of a build config: which base, how its passages are compared, how many a row gets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from medtrinity25m.triplet import Frozen

PACKAGED = "packaged"


class MedCPT(Frozen):
    """The two encoders of MedCPT (Jin et al. 2023), by local folders: one for queries, one for articles."""

    kind: Literal["medcpt"]
    query: Path
    article: Path


class SentenceTransformers(Frozen):
    """A model that sentence-transformers saved, by its local folder (the one with `modules.json`)."""

    kind: Literal["sentence_transformers"]
    path: Path


EmbedderOptions = Literal["wordllama", "minilm"] | Annotated[MedCPT | SentenceTransformers, Field(discriminator="kind")]
"""`wordllama` and `minilm` have their weights in packages; the others are folders on disk."""


class Knowledge(Frozen):
    """Where passages come from and which of them a row gets.

    Args:
        base: a folder that `medtrinity25m knowledge add` made, or `packaged`: what the installed packages bring.
        embedder: what turns texts into vectors.
        server: URL of a Chroma server (`chroma run`) that holds the vectors; None keeps them in the base's folder.
        corpora: names of the corpora to search; none means all.
        top_k: at most so many passages a row.
        floor: lowest similarity of a passage whose subject is not known; None is the one measured for the embedder.
    """

    base: Literal["packaged"] | Path = "packaged"
    embedder: EmbedderOptions = "wordllama"
    server: str | None = None
    corpora: tuple[str, ...] = ()
    top_k: int = Field(default=8, ge=1, le=64)
    floor: float | None = None

    @field_validator("server")
    @classmethod
    def _is_http(cls, server: str | None) -> str | None:
        if server is not None and not server.startswith(("http://", "https://")):
            raise ValueError(f"server {server!r} must be a URL: http://127.0.0.1:8000")
        return server

    def resolved(self, base_dir: Path) -> Knowledge:
        """Return these options with the relative paths of models starting from a folder."""

        def found(path: Path) -> Path:
            return base_dir / path.expanduser()  # an absolute one stays what it is

        match self.embedder:
            case MedCPT(query=query, article=article):
                return self.with_(embedder=MedCPT(kind="medcpt", query=found(query), article=found(article)))
            case SentenceTransformers(path=path):
                return self.with_(embedder=SentenceTransformers(kind="sentence_transformers", path=found(path)))
            case _:
                return self
