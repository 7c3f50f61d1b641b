"""Chroma: nearest vectors where there are too many to compare them all.

Embedded, it lies beside the index (`PersistentClient`); with a URL it is a server (`chroma run`), so that many workers
share one graph in memory. Two collections a state of the base, passages about diseases and the others: ids, vectors,
and the corpus to filter by. Texts stay in the base. Chroma never embeds anything, sends no telemetry and downloads
nothing.

What it returns is only ever a candidate: `search` compares it again, exactly.

**Why** subjects are not filtered by here: a filter of metadata that most rows pass took 250 ms among 100,000 passages,
and the graph, walked around the rows that did not, missed one neighbor in fourteen. Passages that are sure to fit are
few, so `search` compares all of these itself; what fits only perhaps is never about a disease, unless nothing is known
of the query, so these are two graphs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from medtrinity25m.errors import ConfigError, FetchError
from medtrinity25m.knowledge.embedders import Vector
from medtrinity25m.knowledge.index import Index, Rows, locked
from medtrinity25m.release.workspace import disk_errors

BATCH = 2000  # vectors a call; Chroma takes up to 5,461
TIMEOUT_S = 120  # a batch of vectors is put into a graph well within; a server that is silent for longer hangs
SETTINGS = {"space": "ip", "ef_construction": 128, "max_neighbors": 16, "ef_search": 512}
"""Inner product, which is the cosine of vectors of length 1; a wide search, because what it misses stays missed."""


@dataclass(frozen=True)
class Approximate:
    """The two collections of one index: passages about diseases, and the others."""

    client: Any
    about_diseases: Any
    others: Any
    index: Index

    def nearest(self, vector: Vector, count: int, *, corpora: Sequence[str] = (), diseases: bool = False) -> list[int]:
        """Return about the `count` nearest rows of each collection, in no order that is promised.

        Args:
            vector: the query's.
            count: how many.
            corpora: only rows of these; none means all.
            diseases: whether rows about diseases are wanted too.
        """
        where: dict[str, Any] | None = {"corpus": {"$in": sorted(corpora)}} if corpora else None
        found: list[str] = []
        for collection in (self.others, *((self.about_diseases,) if diseases else ())):
            try:
                answer = collection.query(query_embeddings=[vector], n_results=count, where=where, include=[])
            except Exception as error:  # Chroma raises what its server, SQLite or HTTP client raise
                raise FetchError(f"knowledge: Chroma did not answer: {error}") from error
            found += answer["ids"][0]
        return self.index.rows(found)

    def close(self) -> None:
        """Let go of files and connections."""
        self.client.close()
        for session in _sessions(self.client):
            session.close()


def open_approximate(home: Path, index: Index, server: str | None, say: Callable[[str], None]) -> Approximate:
    """Return the filled collection of an index; fill it, or go on filling it, where it is not.

    Args:
        home: folder of the embedder; an embedded Chroma goes below it.
        index: what the collection holds.
        server: URL of a Chroma server, or None for an embedded one.
        say: told what takes time.

    Raises:
        ConfigError: chromadb is missing.
        FetchError: the server does not answer, or answers as no Chroma does.
    """
    if find_spec("chromadb") is None:
        raise ConfigError("knowledge: chromadb is missing; pip install 'medtrinity25m[knowledge]'")
    if server is not None:
        try:
            return _filled(_served(server), index, say)
        except Exception as error:
            raise FetchError(f"knowledge: {server} is no Chroma server that answers: {error}") from error
    from chromadb.api.shared_system_client import SharedSystemClient

    folder = home / "chroma"
    with disk_errors(home), locked(home):
        try:
            return _opened(folder, index, say)
        except Exception:  # noqa: BLE001 - a damaged collection fails in as many ways as it can be damaged
            say(f"{folder} is damaged; filling it anew")
            SharedSystemClient.clear_system_cache()  # it keeps what could not be opened, and would give it again
            shutil.rmtree(folder, ignore_errors=True)
        try:
            return _opened(folder, index, say)
        except Exception as error:
            raise ConfigError(f"knowledge: Chroma cannot keep its collection in {folder}: {error}") from error


def _opened(folder: Path, index: Index, say: Callable[[str], None]) -> Approximate:
    import chromadb

    client = chromadb.PersistentClient(str(folder), settings=_settings())
    try:
        _drop_others(client, index)
        return _filled(client, index, say)
    except Exception:
        client.close()
        raise


def _served(server: str) -> Any:
    import chromadb

    url = urlsplit(server)
    secure = url.scheme == "https"
    client = chromadb.HttpClient(
        url.hostname or "", url.port or (443 if secure else 8000), ssl=secure, settings=_settings()
    )
    for session in _sessions(client):
        session.timeout = TIMEOUT_S
    return client


def _sessions(client: Any) -> Iterator[Any]:
    """Yield the HTTP sessions of a client, if it has any; chromadb gives them no timeout and never closes them."""
    for part in (client, getattr(client, "_admin_client", None)):
        session = getattr(getattr(part, "_server", None), "_session", None)
        if session is not None:
            yield session


def _settings() -> Any:
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False)


def _drop_others(client: Any, index: Index) -> None:
    """Delete the collections of former states; a server is shared, so there nothing is deleted."""
    for collection in client.list_collections():
        if not collection.name.startswith(index.name):
            client.delete_collection(collection.name)


def _filled(client: Any, index: Index, say: Callable[[str], None]) -> Approximate:
    """Return both collections, with what was missing put in."""
    disease = index.about_kind["disease"]
    parts = [
        _fill(client, f"{index.name}-{name}", index, np.flatnonzero(mask), say)
        for name, mask in (("diseases", disease), ("others", ~disease))
    ]
    return Approximate(client, parts[0], parts[1], index)


def _fill(client: Any, name: str, index: Index, rows: Rows, say: Callable[[str], None]) -> Any:
    """Return a collection of rows: they go in by number, so that a count says where to go on."""
    collection = client.get_or_create_collection(name, embedding_function=None, configuration={"hnsw": SETTINGS})
    for start in range(collection.count() // BATCH * BATCH, len(rows), BATCH):
        some = rows[start : start + BATCH]
        collection.upsert(
            ids=[index.id(row) for row in some],
            embeddings=index.vectors[some],
            metadatas=[{"corpus": index.corpus(row)} for row in some],
        )
        if (start + BATCH) % (50 * BATCH) == 0:
            say(f"Chroma holds {start + BATCH:,} of {len(rows):,} vectors of {name}")
    if collection.count() != len(rows):
        raise ValueError(f"Chroma holds {collection.count():,} vectors, not {len(rows):,}")
    return collection
