"""A real HTTP server on loopback that misbehaves on request, and counts the bytes it served.

A `Page` is what stands at a path. Its `mishaps` are used up one a GET, in order; after them it behaves. `hub_pages`
makes the pages of a dataset repository as the Hugging Face Hub serves them, good enough for the real client.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Mishap:
    """One answer that goes wrong."""

    status: int | None = None  # answered in place of the file, with `headers`
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # bytes of the body, then the connection is closed
    stall_s: float = 0.0  # pause after `cut_after` bytes instead of closing
    trickle_s: float = 0.0  # pause after each byte
    claim: int | None = None  # Content-Length to claim in place of the true one
    data: bytes | None = None  # sent in place of the file


@dataclass
class Page:
    """What stands at a path."""

    data: bytes = b""
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    honours_if_range: bool = True
    chunked: bool = False
    framed: bool = True  # False: neither length nor chunks, the closed connection ends the body
    throttle_s: float = 0.0  # pause after each 16 KiB
    location: str | None = None  # redirects there
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    head_headers: dict[str, str] = field(default_factory=dict)
    mishaps: list[Mishap] = field(default_factory=list)
    times: int = 0  # GETs so far


class Server(ThreadingHTTPServer):
    """Serves `pages`; `served` counts body bytes a path, `bodies` those of each GET, `ranges` what each asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.served: Counter[str] = Counter()
        self.ranges: list[str | None] = []
        self.bodies: list[int] = []
        self.seen_headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about clients that hang up."""

    def put_json(self, path: str, content: object, **options: object) -> None:
        """Serve a JSON document."""
        page = Page(json.dumps(content).encode(), headers={"Content-Type": "application/json"}, **options)
        self.pages[path] = page


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server while the block runs."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Keep quiet."""

    def do_HEAD(self) -> None:
        page = self._page()
        if page is None:
            return
        headers = {**page.headers, **page.head_headers, "Content-Length": str(len(page.data))}
        if page.etag:
            headers.setdefault("ETag", page.etag)
        self._send(page.status, headers)

    def do_GET(self) -> None:
        page = self._page()
        if page is None:
            return
        page.times += 1
        self.server.ranges.append(self.headers.get("Range"))
        self.server.bodies.append(0)
        self.turn = len(self.server.bodies) - 1
        self.server.seen_headers.append(dict(self.headers))
        mishap = page.mishaps.pop(0) if page.mishaps else Mishap()
        if mishap.status is not None:
            self._send(mishap.status, {"Content-Length": "0", **mishap.headers})
        elif page.location is not None:
            self._send(302, {"Content-Length": "0", "Location": page.location})
        elif page.status != 200:
            self._send(page.status, {"Content-Length": "0", **page.headers})
        else:
            self._file(page, mishap)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def _page(self) -> Page | None:
        path = unquote(urlsplit(self.path).path)
        page = self.server.pages.get(path)
        if page is None:
            self._send(
                404, {"Content-Length": "0", "X-Error-Code": "RepoNotFound"}
            )  # what the Hub says of a repository
        return page

    def _send(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self, page: Page, mishap: Mishap) -> None:
        data = page.data if mishap.data is None else mishap.data
        told = {"ETag": page.etag, "Last-Modified": page.modified}
        headers = {**page.headers, **{name: value for name, value in told.items() if value is not None}}
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if page.ranges else None
        condition = self.headers.get("If-Range")
        if asked and (condition is None or condition in (page.etag, page.modified) or not page.honours_if_range):
            start, status = int(asked[1]), 206
            if start >= len(data):
                self._send(416, {**headers, "Content-Length": "0", "Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if page.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif not page.framed:
            headers["Connection"] = "close"
        else:
            headers["Content-Length"] = str(len(body) if mishap.claim is None else mishap.claim)
        self._send(status, headers)
        self._body(page, mishap, body)

    def _body(self, page: Page, mishap: Mishap, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        step = 1 if mishap.trickle_s else 16384
        end = len(body) if mishap.cut_after is None else min(mishap.cut_after, len(body))
        for at in range(0, end, step):
            piece = body[at : min(at + step, end)]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if page.chunked else piece)
            self.server.served[path] += len(piece)
            self.server.bodies[self.turn] += len(piece)
            time.sleep(mishap.trickle_s or page.throttle_s)
        if mishap.cut_after is not None and mishap.stall_s:
            time.sleep(mishap.stall_s)
        if mishap.cut_after is not None or mishap.claim is not None or not page.framed:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif page.chunked:
            self.wfile.write(b"0\r\n\r\n")


def hub_pages(server: Server, repo: str, files: dict[str, bytes], lfs: tuple[str, ...] = ()) -> None:
    """Put a dataset repository into `server`: revision, tree, and files by commit.

    Args:
        server: gets the pages.
        repo: `owner/name`.
        files: content by path.
        lfs: paths that are stored as LFS files, whose SHA-256 is published.
    """
    commit = "a" * 40
    siblings = [{"rfilename": path} for path in files]
    about = {"id": repo, "sha": commit, "private": False, "gated": False, "siblings": siblings, "tags": []}
    for place in ("", "/revision/main", f"/revision/{commit}"):
        server.put_json(f"/api/datasets/{repo}{place}", about)
    tree = []
    for path, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        entry = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        if path in lfs:
            entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
        tree.append(entry)
        page = Page(data, etag=f'"{digest if path in lfs else entry["oid"]}"', headers={"X-Repo-Commit": commit})
        if path in lfs:
            page.head_headers = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": page.etag}
        server.pages[f"/datasets/{repo}/resolve/{commit}/{path}"] = page
    server.put_json(f"/api/datasets/{repo}/tree/{commit}", tree)
