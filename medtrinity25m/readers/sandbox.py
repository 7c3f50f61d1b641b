"""Decoding in a process that may die: gdcm, which JPEG Lossless and JPEG-LS need.

**Why**: of 7,500 JPEG and JPEG-LS frames with a few flipped bits 35 ended the process that decoded them, by an
uncaught C++ exception or a segmentation fault, and many decoded to wrong pixels with nothing but a line on the
standard error. In a process of its own the first is a refusal, and so is the second.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.readers.gdcm_worker import LENGTH

WORKER = Path(__file__).with_name("gdcm_worker.py")
TIMEOUT_S = 60.0  # a frame of the largest size allowed takes about ten seconds
CHUNK = 1 << 20  # bytes read from the pipe at a time


class DecoderError(Exception):
    """The frame was not decoded; the message says how that showed, in words without any of the data."""


class GdcmProcess:
    """A helper process, started for the first frame and after each death, one for every process of ours."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._of_parents: list[subprocess.Popen[bytes]] = []  # held after a fork, theirs to end
        self._lock = threading.Lock()
        atexit.register(self.close)

    def decode(self, syntax: str, options: dict[str, Any], source: bytes) -> tuple[NDArray[Any], str]:
        """Return one frame and its photometric interpretation.

        Args:
            syntax: transfer syntax UID.
            options: of pydicom's `Decoder.as_array`, for one frame.
            source: the frame, encapsulated.

        Raises:
            DecoderError: it refused, complained, died or took longer than `TIMEOUT_S`.
        """
        head = json.dumps({"syntax": syntax, "options": options, "bytes": len(source)}).encode()
        with self._lock:
            try:
                reply, pixels = self._ask(LENGTH.pack(len(head)) + head, source)
            except (OSError, ValueError):
                self.close()
                raise DecoderError("gdcm died or took too long") from None
        if "error" in reply or reply["complaint"]:
            raise DecoderError(f"gdcm ({reply.get('error') or 'damaged data'})")
        frame = np.frombuffer(bytearray(pixels), dtype=reply["dtype"]).reshape(reply["shape"])  # writable
        return frame, reply["photometric"]

    def _ask(self, head: bytes, source: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the reply to one message and its pixels; OSError when the helper dies or is late."""
        deadline = time.monotonic() + TIMEOUT_S
        self._write(_pipe(self._started().stdin).fileno(), head + source, deadline)
        length = LENGTH.unpack(self._read(LENGTH.size, deadline))[0]
        reply: dict[str, Any] = json.loads(self._read(length, deadline))
        return reply, self._read(reply.get("bytes", 0), deadline)

    def close(self) -> None:
        """End the helper; the next frame starts another one."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            try:
                _pipe(pipe).close()
            except OSError:  # what was still to be flushed is lost with its reader
                continue

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner != os.getpid():
            self._of_parents.append(self._process)
            self._process = None
        if self._process is None:
            command = [sys.executable, "-P", str(WORKER)]
            self._process = subprocess.Popen(  # noqa: S603  our own file, and no shell
                command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            os.set_blocking(_pipe(self._process.stdin).fileno(), False)  # a helper that hangs does not read
            self._owner = os.getpid()
        return self._process

    def _write(self, pipe: int, message: bytes, deadline: float) -> None:
        """Send all of a message, or raise OSError."""
        rest = memoryview(message)
        while rest:
            _wait(pipe, select.POLLOUT, deadline)
            rest = rest[os.write(pipe, rest[:CHUNK]) :]

    def _read(self, size: int, deadline: float) -> bytes:
        """Return exactly `size` bytes of the reply, or raise OSError."""
        pipe = _pipe(self._process.stdout if self._process else None).fileno()
        parts: list[bytes] = []
        while size:
            _wait(pipe, select.POLLIN, deadline)
            part = os.read(pipe, min(size, CHUNK))
            if not part:
                raise OSError("the helper is gone")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _wait(pipe: int, event: int, deadline: float) -> None:
    """Return when a pipe can be read or written, or its other end is closed; raise OSError at the deadline."""
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):  # milliseconds
        raise OSError("the helper is late")


def _pipe(pipe: Any) -> BinaryIO:
    if pipe is None:
        raise OSError("no pipe")
    found: BinaryIO = pipe
    return found


gdcm = GdcmProcess()
"""The helper of this process."""
