"""What models answered, kept by the hash of the request: nothing is paid for twice, and a rerun gives the same rows.

One file a reply, written whole and seen to the disk before anybody reads what is in it. Failures are kept, too: a
request that got no answer yesterday gets the same none today, or a resumed build would differ from one run through.

**Why** the first reply stands: two processes may ask the same thing at the same time. The one that comes second takes
the first one's reply, so that both write the same rows. A file that is damaged counts as not there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO, runtime_checkable

from pydantic import ValidationError

from medtrinity25m.description.exchange import Answer, Model, Request
from medtrinity25m.release.workspace import PART, disk_errors

NOT_RECORDED = "mllm.not_recorded"
UNLINKED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
"""What file systems without hard links say."""


@dataclass(frozen=True)
class ReplyStore:
    """A folder of replies, readable by its owner only: replies speak about patients' images.

    4,096 folders below it keep 25 million replies at six thousand a folder.
    """

    folder: Path

    def get(self, request: Request) -> Answer | None:
        """Return what `request` was answered, or None."""
        return self._read(request.sha256)

    def put(self, request: Request, answer: Answer) -> Answer:
        """Keep an answer; return the one that stands, which is the first.

        Raises:
            DiskError: the disk refused.
        """
        return self.keep(request.sha256, answer)

    def keep(self, sha256: str, answer: Answer) -> Answer:
        """Keep the answer to the request of that hash; see `put`."""
        path = self._path(sha256)
        part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
        with disk_errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with _private(part, os.O_EXCL) as handle:
                    handle.write(_packed(sha256, answer))
                    handle.flush()
                    os.fsync(handle.fileno())
                return self._settle(sha256, part, answer)
            finally:
                part.unlink(missing_ok=True)

    def expect(self, sha256s: Iterable[str]) -> None:
        """Note that these requests were handed out in batch files: only their results are taken back."""
        path = self.folder / "expected.txt"
        with disk_errors(path):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _private(path, os.O_APPEND) as handle:
                handle.writelines(f"{sha256}\n" for sha256 in sha256s)
                handle.flush()
                os.fsync(handle.fileno())

    def expected(self) -> frozenset[str]:
        """Return the hashes of the requests that were handed out in batch files."""
        try:
            return frozenset((self.folder / "expected.txt").read_text(encoding="utf-8").split())
        except FileNotFoundError:
            return frozenset()

    def _settle(self, sha256: str, part: Path, answer: Answer) -> Answer:
        """Give the written file its name, unless a whole one has it."""
        path = self._path(sha256)
        try:
            os.link(part, path)
        except FileExistsError:
            if (known := self._read(sha256)) is not None:
                return known
            part.replace(path)
        except OSError as error:
            if error.errno not in UNLINKED:
                raise
            part.replace(path)
        _sync(path.parent)
        return answer

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:3] / f"{sha256}.json"

    def _read(self, sha256: str) -> Answer | None:
        try:
            packed = json.loads(self._path(sha256).read_text(encoding="utf-8"))
            if packed["request"] == sha256 and packed["sha256"] == _digest(packed["answer"]):
                return Answer(**packed["answer"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
            pass
        return None


def _private(path: Path, flag: int) -> TextIO:
    """Open a file to write that only its owner may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "w", encoding="utf-8")


def _packed(sha256: str, answer: Answer) -> str:
    content = answer.model_dump(mode="json")
    return json.dumps({"request": sha256, "sha256": _digest(content), "answer": content}, ensure_ascii=False, indent=1)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems sync no folders
            os.fsync(handle)
    finally:
        os.close(handle)


@runtime_checkable
class Telling(Protocol):
    """A model that tells each answer the moment it has it."""

    def answer_each(self, requests: Sequence[Request], on_answer: Callable[[Request, Answer], None], /) -> None:
        """Answer different requests, in any order."""
        ...


@dataclass(frozen=True)
class Remembering:
    """A model that asks only what its store does not know; each reply is kept the moment it is there."""

    inner: Model
    store: ReplyStore

    @property
    def name(self) -> str:
        """The model's name."""
        return self.inner.name

    def answer(self, requests: Sequence[Request], /) -> list[Answer]:
        """Return one answer a request, in order; the same request asked twice is asked once."""
        unique = {request.sha256: request for request in requests}
        answers = {sha256: answer for sha256, request in unique.items() if (answer := self.store.get(request))}

        def on_answer(request: Request, answer: Answer) -> None:
            recorded = answer.failure != NOT_RECORDED
            answers[request.sha256] = self.store.put(request, answer) if recorded else answer

        unknown = [request for sha256, request in unique.items() if sha256 not in answers]
        if unknown and isinstance(self.inner, Telling):
            self.inner.answer_each(unknown, on_answer)
        elif unknown:
            for request, answer in zip(unknown, self.inner.answer(unknown), strict=True):
                on_answer(request, answer)
        return [answers[request.sha256] for request in requests]
