"""What C libraries print while they decode: kept off the console, and taken as evidence.

**Why**: FFmpeg hands on pixels that it had to invent, and libtiff pixels it could not read, and both say so on the
standard error only; no return value and no exception tells.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = threading.Lock()  # two decoders must not exchange the console for one another's files


@contextmanager
def complaints(lines_of: re.Pattern[bytes]) -> Iterator[list[str]]:
    """Yield a list that holds, once the block is left, the lines printed on file descriptor 2 that fit `lines_of`.

    What others print meanwhile is handed on to where it was going.
    """
    found: list[str] = []
    with _STDERR, tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            for line in said.read().splitlines(keepends=True):
                if lines_of.match(line):
                    found.append(line.decode(errors="replace").strip())
                else:
                    os.write(2, line)
