"""A real HTTP server on loopback that speaks the chat-completions protocol, and misbehaves on request.

::

    with MllmServer(faults={"429": 0.1, "half-json": 0.05}, seed=0) as server:
        options = OpenAIOptions(endpoint=server.url, model="tiny")
        ...
        server.paid         # completions that went out whole, by the hash of the request's body
        server.log          # ("ok" or the fault's name, hash), in order of arrival
        server.bodies       # request bodies, parsed

It checks every request against the protocol, decodes its pictures, and answers with JSON that follows the schema of
`response_format`, or with what `describe(body)` returns. Which call fails depends on the seed, the request and how
often it was asked, never on who came first: a run repeats. `down` makes it answer 503 to everybody.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

from mllm_replies import CONTENTS, WRAPPED, Body, completion

STATUSES = ("400", "401", "402", "403", "404", "408", "409", "413", "425", "429", "500", "502", "503", "504")
CONNECTION = ("reset", "reset-mid", "silence", "trickle", "short", "chunked-garbage", "twice")
SPOILT = ("html", "empty", "half-json", "half-sse", "endless")
BODIES = (*SPOILT, "null-choices", "no-choices", "null-content", "no-reason")
ENDS = ("refusal", "filter", "length")
OTHERS = ("429-after", "trailing-comma", "redirect", "context", "quota", "secret", *WRAPPED, *CONTENTS)
FAULTS = {*STATUSES, *CONNECTION, *BODIES, *ENDS, *OTHERS}

MESSAGES = {
    "400": ("invalid value for response_format", "invalid_request_error"),
    "401": ("Incorrect API key provided: {key}", "invalid_api_key"),
    "404": ("The model does not exist", "model_not_found"),
    "context": ("This model's maximum context length is 1024 tokens. However, you requested 4000 tokens", "400"),
    "quota": ("You exceeded your current quota, please check your plan", "insufficient_quota"),
}


class MllmServer(ThreadingHTTPServer):
    """See the module's docstring.

    Args:
        faults: share of the calls that meet each of `FAULTS`; they add up to at most 1.
        seed: of the choice which.
        describe: gives the content of a reply, as text or as what becomes JSON; None for one that follows the schema.
        key: that callers must bring.
        delay_s: pause before every answer, so that calls are in flight.
        retry_after: header of the fault `429-after`.
        location: where the fault `redirect` points to.
        first: faults that the first calls of every request meet, in this order; `ok` for none.
        fault_of: names the fault that a request always meets, or None.
        port: 0 for any that is free.
    """

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        describe: Callable[[Body], str | Body | None] | None = None,
        *,
        key: str | None = None,
        delay_s: float = 0.0,
        retry_after: str = "0",
        first: Sequence[str] = (),
        fault_of: Callable[[Body], str | None] | None = None,
        location: str = "http://127.0.0.1:9/v1/chat/completions",
        port: int = 0,
    ) -> None:
        self.faults = dict(faults or {})
        if unknown := self.faults.keys() - FAULTS:
            raise ValueError(f"no such faults: {sorted(unknown)}")
        self.seed, self.describe, self.key = seed, describe, key
        self.delay_s, self.retry_after, self.location = delay_s, retry_after, location
        self.first, self.fault_of = first, fault_of
        self.down = False
        self.paid: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.log: list[tuple[str, str]] = []
        self.bodies: list[Body] = []
        self.times: list[float] = []
        self.headers: list[dict[str, str]] = []
        self.flying = 0
        self.most_flying = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        """The endpoint, as a config names it."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> MllmServer:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about clients that hang up."""

    def fault(self, body: Body, headers: dict[str, str]) -> tuple[str, str]:
        """Return the fault that this call meets, or `ok`, and the hash of its body."""
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with self._lock:
            turn = self.asked[digest]
            self.asked[digest] += 1
            chance = int(hashlib.sha256(f"{self.seed} {digest} {turn}".encode()).hexdigest()[:12], 16) / 16**12
            met = "ok"
            for name, share in self.faults.items():
                if chance < share:
                    met = name
                    break
                chance -= share
            met = self.first[turn] if turn < len(self.first) else met
            met = (self.fault_of(body) if self.fault_of else None) or met
            met = "503" if self.down else met
            self.log.append((met, digest))
            self.bodies.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
        return met, digest

    def wait(self, seconds: float) -> None:
        """Pause, but no longer than the server lives."""
        self._stop.wait(seconds)

    def fly(self, step: int) -> None:
        """Count the calls in flight."""
        with self._lock:
            self.flying += step
            self.most_flying = max(self.most_flying, self.flying)


class _Handler(BaseHTTPRequestHandler):
    server: MllmServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Keep quiet."""

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": "tiny", "object": "model"}]})
        else:
            self.error(404, "Not Found", "not_found")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            self.error(404, "Not Found", "not_found")
            return
        if self.server.key is not None and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self.error(401, "Incorrect API key provided", "invalid_api_key")
            return
        try:
            body = json.loads(raw)
            check(body)
        except (ValueError, KeyError, TypeError, OSError) as error:
            self.error(400, f"this is no request: {error}", "invalid_request_error")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault, digest = self.server.fault(body, headers)
        self.server.fly(1)
        try:
            self.server.wait(self.server.delay_s)
            self.meet(fault, body, digest)
        finally:
            self.server.fly(-1)

    def meet(self, fault: str, body: Body, digest: str) -> None:
        """Answer as the fault has it."""
        if fault == "silence":
            self.server.wait(60)
            self.close_connection = True
        elif fault == "reset":
            self.reset()
        elif fault == "redirect":
            self.send(307, b"", {"Location": self.server.location})
        elif fault in STATUSES or fault in ("429-after", "context", "quota"):
            status = {"429-after": 429, "context": 400, "quota": 429}.get(fault) or int(fault)
            message, code = MESSAGES.get(fault, (f"the server said {status}", str(status)))
            headers = {"Retry-After": self.server.retry_after} if fault == "429-after" else {}
            self.error(status, message.format(key=self.server.key), code, headers)
        else:
            self.complete(fault, body, digest)

    def complete(self, fault: str, body: Body, digest: str) -> None:
        """Send a completion, whole or spoilt."""
        reply = completion(fault, body, self.server)
        data = json.dumps(reply).encode()
        spoilt = {
            "html": b"<html><body><h1>502 Bad Gateway</h1></body></html>",
            "empty": b"",
            "half-json": data[: len(data) // 2],
            "half-sse": b'data: {"choices": [{"delta": {"content": "The"}}]}\n\ndata: {"choi',
        }
        if fault in spoilt:
            kind = {"html": "text/html", "half-sse": "text/event-stream"}.get(fault, "application/json")
            self.send(200, spoilt[fault], {"Content-Type": kind})
        elif fault == "chunked-garbage":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"20\r\n" + data[:32] + b"\r\nzz\r\n" + data[32:])
            self.close_connection = True
        elif fault in ("short", "reset-mid", "trickle"):
            self.cut(fault, data)
        elif fault == "endless":
            self.pour()
        else:
            if fault not in BODIES:
                self.server.paid[digest] += 1
            self.send(200, data, {"Content-Type": "application/json"}, times=2 if fault == "twice" else 1)

    def cut(self, fault: str, data: bytes) -> None:
        """Promise all of the data and send less, or send it a byte at a time."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data) + (100 if fault == "short" else 0)))
        self.end_headers()
        if fault == "trickle":
            for at in range(len(data)):
                self.wfile.write(data[at : at + 1])
                self.server.wait(0.2)
            return
        self.wfile.write(data if fault == "short" else data[: len(data) // 2])
        if fault == "reset-mid":
            self.reset()
        self.close_connection = True

    def pour(self) -> None:
        """Send a body that does not end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for _ in range(100):
                self.wfile.write(b" " * (1 << 20))
        except OSError:
            pass
        self.close_connection = True

    def reset(self) -> None:
        """Close the connection with RST."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def error(self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> None:
        """Send an error as the protocol has it."""
        self.answer(status, {"error": {"message": message, "type": "error", "param": None, "code": code}}, headers)

    def answer(self, status: int, content: Body, headers: Mapping[str, str] | None = None) -> None:
        """Send JSON."""
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send(self, status: int, data: bytes, headers: Mapping[str, str], times: int = 1) -> None:
        """Send a response, in one piece."""
        head = [f"HTTP/1.1 {status} said", *(f"{name}: {value}" for name, value in headers.items())]
        head.append(f"Content-Length: {len(data)}")
        self.wfile.write((("\r\n".join(head) + "\r\n\r\n").encode() + data) * times)


def check(body: Body) -> None:
    """Refuse a request that the protocol does not allow, or whose pictures cannot be decoded."""
    if not isinstance(body["model"], str) or not isinstance(body["messages"], list):
        raise TypeError("model or messages")
    for message in body["messages"]:
        if message["role"] not in ("system", "user"):
            raise ValueError(f"role {message['role']!r}")
        for part in [] if isinstance(message["content"], str) else message["content"]:
            if part["type"] == "image_url":
                kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", part["image_url"]["url"]).groups()
                with Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=[kind]) as image:
                    image.load()
            elif part["type"] != "text" or not isinstance(part["text"], str):
                raise ValueError(f"part {part['type']!r}")
    form = body.get("response_format", {"type": "text"})
    if form["type"] == "json_schema":
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", form["json_schema"]["name"]):
            raise ValueError("name of the schema")
        if not isinstance(form["json_schema"]["schema"], dict):
            raise TypeError("schema")
    elif form["type"] not in ("json_object", "text"):
        raise ValueError(f"response_format {form['type']!r}")
