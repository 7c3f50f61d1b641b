"""The other end of `sandbox`: a process that decodes frames with gdcm until its input ends.

It is run as a file of its own and imports nothing of this package, so that it starts wherever pydicom does.

A message is a 4-byte big-endian length, that many bytes of JSON, and the `bytes` the JSON announces. A
request has `syntax`, `options` of pydicom's decoder and one encapsulated frame; the reply `dtype`, `shape`,
`photometric` and the pixels, or `error`. Whatever the C++ code printed meanwhile comes back as `complaint`:
for damaged entropy-coded data a printed warning is the only sign there is.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import sys
import tempfile
import warnings
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")
COMPLAINT_BYTES = 200  # one line of it is enough for a reason


def decode(request: dict[str, Any], source: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the reply to one request, and the pixels in C order."""
    from pydicom.pixels.decoders.base import get_decoder

    try:
        decoder = get_decoder(request["syntax"])
        array, found = decoder.as_array(source, index=0, decoding_plugin="gdcm", **request["options"])
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        return {"error": type(error).__name__}, b""
    pixels = array.tobytes()
    photometric = str(found["photometric_interpretation"])
    return {
        "dtype": array.dtype.str,
        "shape": array.shape,
        "photometric": photometric,
        "bytes": len(pixels),
    }, pixels


def serve(requests: BinaryIO, replies: BinaryIO, printed: BinaryIO) -> None:
    """Answer requests until there are no more; `printed` is the file that the standard streams go to."""
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        request = json.loads(requests.read(LENGTH.unpack(head)[0]))
        printed.truncate(0)
        reply, pixels = decode(request, requests.read(request["bytes"]))
        printed.seek(0)
        reply["complaint"] = printed.read(COMPLAINT_BYTES).decode("ascii", "replace")
        head = json.dumps(reply).encode()
        replies.write(LENGTH.pack(len(head)) + head)
        replies.write(pixels)
        replies.flush()


def main() -> None:
    """Keep the pipes for messages alone, send everything printed to a file, and serve."""
    warnings.simplefilter("ignore")  # pydicom's quote what they complain about
    logging.disable(logging.CRITICAL)
    with os.fdopen(os.dup(1), "wb") as replies, tempfile.TemporaryFile("a+b", buffering=0) as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        serve(sys.stdin.buffer, replies, printed)


if __name__ == "__main__":
    main()
