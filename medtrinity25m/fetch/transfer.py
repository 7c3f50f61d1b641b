"""One file by HTTP: resumed where it stopped, checked before it gets its name.

**Why** not `pooch`, which others use for this: its HTTP downloader starts over after every cut, and its protocol for
own downloaders hands out a new temporary name at each call, so what a killed process had got could not be found
again. What would be left of it are a hash and a rename.

**Why** a validator is remembered beside the partial file: a server may have replaced the file between two attempts,
and the end of the new one glued to the beginning of the old one has the right length. `If-Range` asks for the whole
file in that case; the answer's own ETag and Last-Modified are compared as well, because not every server honours it.
Without validator and without checksum a partial file is thrown away.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from medtrinity25m import __version__
from medtrinity25m.errors import DiskError, FetchError
from medtrinity25m.fetch.meter import Count, Meter
from medtrinity25m.fetch.patience import AgainError, Patience, ordered_pause, persist
from medtrinity25m.release.workspace import PART, disk_errors, write_committed

Checksum = tuple[Literal["md5", "sha256"], str]
CHUNK = 1 << 20
MAX_REDIRECTS = 10
MAX_JSON_BYTES = 32 << 20  # a Zenodo record of 10,000 files has about 6 MB
LATER = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})  # 520–524 are Cloudflare's
LOGIN = frozenset({401, 403})
NETWORK = (
    requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, TimeoutError, ConnectionError,
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """A file to have.

    Args:
        url: where it is.
        path: where it will stand, complete and checked; beside it lie `.part` and `.part.json` until then.
        checksum: algorithm and hex digest, where one was published.
        size: bytes, where they were published.
        help: one sentence for a server that asks for a login.
    """

    url: str
    path: Path
    checksum: Checksum | None = None
    size: int | None = None
    help: str = "log in or accept the terms at the source's homepage"

    @property
    def part(self) -> Path:
        """The file while it comes."""
        return self.path.with_name(self.path.name + PART)

    @property
    def note(self) -> Path:
        """What the server said of the partial file."""
        return self.path.with_name(self.path.name + PART + ".json")


def download(wanted: Wanted, meter: Meter, patience: Patience) -> None:
    """Have a file; what is there of it is not fetched again. A file with a wrong checksum is fetched anew once.

    Raises:
        FetchError: the server does not have it, does not give it, or gives something else.
        DiskError: no room.
    """
    if wanted.path.exists():
        return
    with disk_errors(wanted.path):
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
    for last in (False, True):
        with meter.counting(wanted.path.name, wanted.size) as count, requests.Session() as session:
            persist(
                wanted.path.name,
                lambda: _attempt(session, wanted, count, patience),
                lambda: _size(wanted.part),
                patience,
                meter,
            )
        if wanted.checksum is None and not (_read_note(wanted) or {"framed": True})["framed"]:
            meter.say(f"{wanted.path.name}: neither length nor checksum is published, so a cut would not be noticed")
        wrong = _wrong_checksum(wanted)
        if wrong is None:
            break
        _drop(wanted)
        if last:
            raise FetchError(f"{wanted.url}: {wrong}, twice; the file was replaced or is damaged at the source")
        meter.say(f"{wanted.path.name}: {wrong}; fetching it anew")
    with disk_errors(wanted.path):
        with wanted.part.open("rb") as handle:
            os.fsync(handle.fileno())
        wanted.part.replace(wanted.path)
        wanted.note.unlink(missing_ok=True)


def get_json(url: str, what: str, meter: Meter, patience: Patience) -> Any:
    """Return a JSON document, at most 32 MiB of it."""
    found: list[Any] = []

    def attempt() -> None:
        with requests.Session() as session, _response(session, url, {"Accept": "application/json"}, patience) as reply:
            _refuse_status(reply, url, what)
            body = bytearray()
            for chunk in _chunks(reply, patience):
                body += chunk
                if len(body) > MAX_JSON_BYTES:
                    raise FetchError(f"{url} answers with more than {MAX_JSON_BYTES:,} bytes of JSON")
        try:
            found.append(json.loads(body))
        except ValueError:
            raise FetchError(f"{url} answers with something that is no JSON") from None

    persist(what, attempt, lambda: 0, patience, meter)
    return found[0]


def _attempt(session: requests.Session, wanted: Wanted, count: Count, patience: Patience) -> None:
    """Append what is missing to the partial file; raise `AgainError` where the connection ends before the file."""
    said = _resumable(wanted)
    start = _size(wanted.part) if said is not None else 0
    if said is not None and start and start == said["total"]:
        return
    headers = {} if said is None or not start else {"Range": f"bytes={start}-", **_if_range(said)}
    with _response(session, wanted.url, headers, patience) as reply:
        if reply.status_code == 416 and headers and said is not None:
            if _content_range(reply)[1] == start and _same_file(said, reply):
                return
            _drop(wanted)
            raise AgainError("the server's file became shorter")
        _refuse_status(reply, wanted.url, wanted.help)
        _refuse_web_page(reply, wanted)
        if reply.status_code == 206 and headers and said is not None:
            begins, total = _content_range(reply)
            known = [size for size in (said["total"], total) if size is not None]
            if begins != start or len(set(known)) > 1 or not _same_file(said, reply):
                _drop(wanted)
                raise AgainError("the server's file changed")
            total = known[0] if known else None
        elif reply.status_code == 206:
            raise FetchError(f"{wanted.url} answers with a part of the file nobody asked for")
        else:  # the whole file: at the beginning, or because the server has no ranges or another file now
            start, total = 0, _length(reply)
            _write_note(wanted, reply, total)
        _check_size(wanted, total)
        _check_room(wanted.part, total, start)
        if total is not None:
            count.expect(total)
        end = _write(wanted.part, start, reply, count, patience)
    if total is not None and end != total:
        if end > total:
            _drop(wanted)
        raise AgainError(f"the connection ended at byte {end:,} of {total:,}")


def _write(part: Path, start: int, reply: requests.Response, count: Count, patience: Patience) -> int:
    """Write the body from byte `start` on; return where it ended. What came before a cut is kept."""
    with disk_errors(part), part.open("r+b" if start else "wb") as out:
        out.seek(start)
        out.truncate()
        count.at(start)
        for chunk in _chunks(reply, patience):
            out.write(chunk)
            count.at(out.tell())
        return out.tell()


def _chunks(reply: requests.Response, patience: Patience) -> Iterator[bytes]:
    """Yield the body as it is sent; raise `AgainError` where it stalls, trickles or is cut.

    A Content-Encoding is left on: servers put `gzip` on stored `.nii.gz` files, whose checksum is that of the bytes.
    """
    since, seen = time.monotonic(), 0
    while True:
        try:
            chunk = reply.raw.read1(CHUNK, decode_content=False)
        except NETWORK as error:
            raise AgainError(_told(error)) from None
        if not chunk:
            return
        yield chunk
        seen += len(chunk)
        elapsed = time.monotonic() - since
        if elapsed >= patience.slow_s:
            if seen < elapsed * patience.slow_bytes_per_s:
                raise AgainError(f"the server sends {seen / elapsed:.0f} bytes a second")
            since, seen = time.monotonic(), 0


@contextmanager
def _response(
    session: requests.Session, url: str, headers: Mapping[str, str], patience: Patience
) -> Iterator[requests.Response]:
    """Open a URL, following redirects to where a file may come from."""
    sent = {"User-Agent": f"medtrinity25m/{__version__}", "Accept-Encoding": "identity", **headers}
    for _ in range(MAX_REDIRECTS):
        try:
            reply = session.get(
                url, headers=sent, stream=True, allow_redirects=False, timeout=(patience.connect_s, patience.read_s)
            )
        except requests.exceptions.SSLError as error:
            raise FetchError(f"{url}: the certificate cannot be trusted ({_told(error)})") from None
        except NETWORK as error:
            raise AgainError(_told(error)) from None
        with reply:
            if not reply.is_redirect:
                yield reply
                return
            target = urljoin(url, reply.headers["Location"])
        if not _may_redirect(url, target):
            raise FetchError(f"{url} redirects to {target}, which is not HTTPS; fetch the file by hand if you trust it")
        url = target
    raise FetchError(f"{url}: more than {MAX_REDIRECTS} redirects")


def _may_redirect(url: str, target: str) -> bool:
    """Allow HTTPS anywhere, plain HTTP only from plain HTTP on the same host or from loopback to loopback."""
    old, new = urlsplit(url), urlsplit(target)
    if _loopback(new.hostname) and not _loopback(old.hostname):
        return False  # a public server has no business with services of this machine
    if new.scheme == "https":
        return True
    near = old.hostname == new.hostname or (_loopback(old.hostname) and _loopback(new.hostname))
    return old.scheme == new.scheme == "http" and near


def _loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _refuse_status(reply: requests.Response, url: str, help_: str) -> None:
    """Raise for an answer that is not the file."""
    code = reply.status_code
    if code in (200, 206):
        return
    if code in LATER:
        raise AgainError(f"the server answers {code}", ordered_pause(reply.headers.get("Retry-After")))
    if code in LOGIN:
        login = f"a login for {urlsplit(url).hostname} is read from ~/.netrc"
        raise FetchError(f"{url} refuses access ({code}): {help_}; {login}")
    raise FetchError(f"{url} answers {code} {reply.reason}; the file was moved or removed")


def _refuse_web_page(reply: requests.Response, wanted: Wanted) -> None:
    """Raise where a login page or a warning is sent in place of a file nobody knows the checksum of."""
    page = reply.headers.get("Content-Type", "").partition(";")[0].strip().casefold() == "text/html"
    if page and wanted.checksum is None and wanted.path.suffix.casefold() not in (".html", ".htm"):
        raise FetchError(f"{wanted.url} answers with a web page in place of the file; {wanted.help}")


def _length(reply: requests.Response) -> int | None:
    value = reply.headers.get("Content-Length", "")
    return int(value) if value.isdigit() and "Transfer-Encoding" not in reply.headers else None


def _content_range(reply: requests.Response) -> tuple[int | None, int | None]:
    """Return (first byte, bytes of the whole file) of a Content-Range, None for what it does not say."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", reply.headers.get("Content-Range", ""))
    first, total = match.groups() if match else (None, None)
    return None if first is None else int(first), None if total in (None, "*") else int(str(total))


def _if_range(said: Mapping[str, Any]) -> dict[str, str]:
    """Return the If-Range header; a weak ETag may not be in it (RFC 9110, 13.1.5)."""
    etag = said["etag"]
    validator = etag if etag and not etag.startswith("W/") else said["modified"]
    return {"If-Range": validator} if validator else {}


def _same_file(said: Mapping[str, Any], reply: requests.Response) -> bool:
    """Say whether an answer is about the file we hold a part of, as far as the server tells."""
    pairs = ((said["etag"], reply.headers.get("ETag")), (said["modified"], reply.headers.get("Last-Modified")))
    return all(old == new for old, new in pairs if old and new)


def _read_note(wanted: Wanted) -> dict[str, Any] | None:
    """Return what the server said when the partial file was begun, or None where nothing was begun."""
    try:
        said: dict[str, Any] = json.loads(wanted.note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if wanted.part.exists() else None


def _resumable(wanted: Wanted) -> dict[str, Any] | None:
    """Return what the server said of the partial file, or None when it must be begun anew."""
    said = _read_note(wanted)
    if said is None or said["url"] != wanted.url:
        return None
    return said if said["etag"] or said["modified"] or wanted.checksum else None


def _write_note(wanted: Wanted, reply: requests.Response, total: int | None) -> None:
    wanted.part.unlink(missing_ok=True)  # never a note beside the part of another file
    said = {
        "url": wanted.url,
        "total": total,
        "framed": total is not None or "Transfer-Encoding" in reply.headers,
        "etag": reply.headers.get("ETag"),
        "modified": reply.headers.get("Last-Modified"),
    }
    write_committed(wanted.note, json.dumps(said))


def _drop(wanted: Wanted) -> None:
    wanted.part.unlink(missing_ok=True)
    wanted.note.unlink(missing_ok=True)


def _check_size(wanted: Wanted, total: int | None) -> None:
    if wanted.size is not None and total is not None and wanted.size != total:
        _drop(wanted)
        raise FetchError(f"{wanted.url} has {total:,} bytes where {wanted.size:,} were announced; it was replaced")


def _check_room(part: Path, total: int | None, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise DiskError(f"{part} needs {total - start:,} more bytes and {free:,} are free; make room, then go on")


def _wrong_checksum(wanted: Wanted) -> str | None:
    """Return what is wrong with a complete partial file, or None."""
    if wanted.checksum is None:
        return None
    algorithm, expected = wanted.checksum
    with wanted.part.open("rb") as handle:
        got = hashlib.file_digest(handle, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    return None if got == expected else f"{algorithm} is {got}, expected {expected}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _told(error: BaseException) -> str:
    """Return the innermost reason of a network error: the outer ones repeat it with object addresses."""
    inner: Any = error
    while True:
        args = [arg for arg in (*getattr(inner, "args", ()), getattr(inner, "reason", None)) if arg is not inner]
        deeper = next((arg for arg in args if isinstance(arg, BaseException)), None)
        if deeper is None:
            break
        inner = deeper
    if isinstance(inner, http.client.IncompleteRead):  # urllib3's is one of these
        return "the connection was cut"
    return str(inner).rpartition(">: ")[2] or type(inner).__name__
