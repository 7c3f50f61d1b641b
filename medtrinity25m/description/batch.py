"""Batch files: requests written for a server that answers within a day and at half the price, results read back.

A build cannot wait a day, so it takes turns: `write` runs it with a model that only collects what it is asked, the
files are sent, `read` puts the results where replies are kept, and the build finds them there. Replies that cannot be
used are asked again under another hash: the next `write` holds those, until one holds nothing.

The lines are OpenAI's, which `vllm run-batch` reads, too; `custom_id` is the hash of the request. A file holds at most
50,000 requests and 200 MB, as the API allows. Requests are sorted by hash: the files are the same whatever the number
of processes that collected them.

**Why** every request lies in a file of its own first: the pictures of 200,000 requests do not fit into memory, and
several processes collect.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, Field, ValidationError

from medtrinity25m.description.backends.chat import Dialect, Trouble, body_of, judge
from medtrinity25m.description.exchange import Answer, Request
from medtrinity25m.description.replies import NOT_RECORDED, ReplyStore
from medtrinity25m.errors import ConfigError, one_line
from medtrinity25m.release.workspace import committed, disk_errors

ENDPOINT = "/v1/chat/completions"
MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
MAX_LINE = 8 << 20  # bytes of a result: twice the largest body that is taken from a server
SPOOL = "collected"
SHOWN = 20  # faults that are told one by one


@dataclass(frozen=True)
class Written:
    """Batch files and how many requests they hold together."""

    requests: int
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Collecting:
    """A model that answers what `store` knows and writes every other request into `folder`.

    Args:
        name: of the model that will be asked.
        store: replies that are there already.
        folder: where the batch files will lie.
        dialect: of the server.
    """

    name: str
    store: ReplyStore
    folder: Path
    dialect: Dialect = field(default_factory=Dialect)

    def answer(self, requests: Sequence[Request], /) -> list[Answer]:
        """Return known answers; `mllm.not_recorded` for what was written down."""
        return [self.store.get(request) or self._collected(request) for request in requests]

    def collect(self, request: Request) -> None:
        """Write a request down, once."""
        line = {"custom_id": request.sha256, "method": "POST", "url": ENDPOINT, "body": body_of(request, self.dialect)}
        data = json.dumps(line).encode() + b"\n"
        if len(data) > MAX_BYTES:
            raise ConfigError(
                f"a request has {len(data):,} bytes, a batch file takes {MAX_BYTES:,}; send smaller pictures"
            )
        path = _spool(self.folder) / request.sha256[:3] / request.sha256
        if not path.is_file():
            with committed(path) as part:
                part.write_bytes(data)

    def _collected(self, request: Request) -> Answer:
        self.collect(request)
        return Answer(failure=NOT_RECORDED, detail=f"request {request.sha256} waits in a batch file")


def write_requests(
    requests: Iterable[Request], folder: Path, store: ReplyStore, dialect: Dialect | None = None
) -> Written:
    """Write the requests that `store` cannot answer as batch files into `folder`.

    Raises:
        ConfigError: `folder` holds batch files already, or a request is too large for any.
        DiskError: the disk refused.
    """
    begin(folder)
    for request in requests:
        if store.get(request) is None:
            Collecting(request.model, store, folder, dialect or Dialect()).collect(request)
    return finish(folder, store)


def begin(folder: Path) -> None:
    """Make ready to collect in `folder`; what a stopped `write` left is taken up.

    Raises:
        ConfigError: it holds batch files already.
    """
    if not _spool(folder).is_dir() and any(folder.glob("requests-*.jsonl")):
        raise ConfigError(f"{folder} holds batch files already; name a new folder, those may be on their way")
    with disk_errors(folder):
        _spool(folder).mkdir(mode=0o700, parents=True, exist_ok=True)


def finish(folder: Path, store: ReplyStore) -> Written:
    """Put what was collected into batch files, and note in `store` that their results are expected."""
    spool = _spool(folder)
    for stale in folder.glob("requests-*.jsonl"):  # of a `write` that was stopped here
        stale.unlink()
    paths = sorted(path for path in spool.glob("*/*") if len(path.name) == 64)
    store.expect(path.name for path in paths)
    files = [_write(folder / f"requests-{number:05}.jsonl", part) for number, part in enumerate(_parts(paths))]
    shutil.rmtree(spool)
    return Written(len(paths), tuple(files))


def _spool(folder: Path) -> Path:
    return folder / SPOOL


def _parts(paths: Iterable[Path]) -> Iterator[list[Path]]:
    """Yield as many requests as a file may hold."""
    part: list[Path] = []
    size = 0
    for path in paths:
        more = path.stat().st_size
        if part and (len(part) == MAX_REQUESTS or size + more > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(path)
        size += more
    if part:
        yield part


def _write(path: Path, requests: Iterable[Path]) -> Path:
    with committed(path) as part, part.open("wb") as handle:
        part.chmod(0o600)  # pictures of patients
        for request in requests:
            handle.write(request.read_bytes())
    return path


@dataclass
class Counts:
    """What result files came to: `lines` = `kept` + `known` + all `faults`.

    `kept` were put into the store, `known` stood there already. `faults` counts the lines that gave nothing, by reason;
    `told` holds the first of them, one sentence each.
    """

    lines: int = 0
    kept: int = 0
    known: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    def fault(self, where: str, reason: str, detail: str = "") -> None:
        """Count a line that gave nothing."""
        self.faults[reason] += 1
        if len(self.told) < SHOWN:
            self.told.append(one_line(f"{where}: {reason}{': ' if detail else ''}{detail}"))


class _Response(BaseModel):
    status_code: int
    body: Any = None


class _Result(BaseModel):
    custom_id: str = Field(pattern="^[0-9a-f]{64}$")
    response: _Response | None = None
    error: Any = None


def read_results(paths: Iterable[Path], store: ReplyStore) -> Counts:
    """Put the results of batch files into `store`.

    A result is taken for a request that was handed out and for no other; errors are counted and told, and their
    requests stay open: the next `write` holds them again.

    Raises:
        ConfigError: a file cannot be read.
        DiskError: the disk refused.
    """
    counts, expected = Counts(), store.expected()
    for path in paths:
        try:
            with path.open("rb") as handle:
                for number, line in enumerate(_lines(handle), start=1):
                    if line is None or line.strip():
                        counts.lines += 1
                        _take(line, f"{path.name}:{number}", expected, store, counts)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise ConfigError(f"{path}: {error.strerror}; name the files that the batch came back as") from None
    return counts


def _lines(handle: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines; None for one that is too long."""
    while line := handle.readline(MAX_LINE + 1):
        whole = len(line) <= MAX_LINE
        yield line if whole else None
        while not whole and line and not line.endswith(b"\n"):
            line = handle.readline(MAX_LINE)


def _take(line: bytes | None, where: str, expected: frozenset[str], store: ReplyStore, counts: Counts) -> None:
    """Judge one line."""
    if line is None:
        counts.fault(where, "too long", f"more than {MAX_LINE:,} bytes")
        return
    try:
        result = _Result.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        counts.fault(where, "no result of a batch", " ".join([*map(str, first["loc"]), first["msg"]]))
        return
    if result.custom_id not in expected:
        counts.fault(where, "unknown request", f"{result.custom_id} was not handed out from here")
        return
    if result.response is None or result.error:
        counts.fault(where, "not answered", json.dumps(result.error))
        return
    said = judge(result.response.status_code, json.dumps(result.response.body).encode())
    if isinstance(said, Trouble):
        counts.fault(where, "not answered", said.reason)
    elif store.keep(result.custom_id, said) is said:
        counts.kept += 1
    else:
        counts.known += 1
