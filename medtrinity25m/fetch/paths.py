"""Names that come from outside, made into paths that cannot leave a folder."""

from __future__ import annotations

import re

MAX_NAME_BYTES = 240  # of the 255 a file system allows; `.part.json` has to fit behind
_DRIVE = re.compile(r"^[A-Za-z]:")


def safe_path(name: str) -> str:
    r"""Return a relative POSIX path for a name that a server or an archive gave.

    Backslashes are separators, as in the archives some Windows programs write; `.` and empty parts are dropped.

    Raises:
        ValueError: the name is absolute, leads upwards, holds control characters or is too long; says which.
    """
    flat = name.replace("\\", "/")
    parts = [part for part in flat.split("/") if part not in ("", ".")]
    if flat.startswith("/") or _DRIVE.match(flat):
        raise ValueError("is absolute")
    if ".." in parts:
        raise ValueError("leads out of the folder")
    if not parts:
        raise ValueError("names no file")
    if any(ord(character) < 32 or ord(character) == 127 for character in flat):
        raise ValueError("holds control characters")
    if any(len(part.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES for part in parts):
        raise ValueError(f"has a part of more than {MAX_NAME_BYTES} bytes")
    return "/".join(parts)
