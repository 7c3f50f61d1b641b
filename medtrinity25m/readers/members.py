"""Files inside containers: `container!/member`, read where they lie.

======================  ========================================  =========================================
container               member                                    how it is read
======================  ========================================  =========================================
`.zip`, `.npz`          a path; of an `.npz` without `.npy`       at its place, CRC checked
`.tar`                  a path                                    at its place, by an index of the headers
`.tar.gz`, `.tgz`,      a path                                    unpacked once to the cache folder, then as
`.tar.zst`                                                        `.tar`
`.parquet`              `column/row`, the column binary or        its row group is read
                        {bytes, path}
======================  ========================================  =========================================

**Why** compressed tar is unpacked as a whole: its members can be read in their order only, and the rows of a
release come in another.
"""

from __future__ import annotations

import re
from pathlib import Path

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.container import Container
from medtrinity25m.readers.parquet_rows import ParquetRows
from medtrinity25m.readers.tar_archive import TarArchive
from medtrinity25m.readers.zip_archive import ZipArchive

_ADDRESS = re.compile(r"(.+?\.(zip|npz|tar|tar\.gz|tgz|tar\.zst|parquet))!/(.+)", re.IGNORECASE | re.DOTALL)


def split(address: str) -> tuple[str, str] | None:
    """Return container and member of an address, or None when it is the path of a file."""
    found = _ADDRESS.fullmatch(address)
    return None if found is None else (found[1], found[3])


def open_container(path: str, place: Path, cache: Path | None) -> Container:
    """Return the container at `place`; `path` is for messages and addresses, `cache` the folder to unpack to.

    Raises:
        RefusedError: `archive.unsupported` for a file that is none, by its name.
    """
    found = _ADDRESS.fullmatch(f"{path}!/x")
    if found is None:
        why = f"{path} is no archive that is read: zip, npz, tar, tar.gz, tgz, tar.zst or parquet"
        raise RefusedError("archive.unsupported", why)
    match found[2].casefold():
        case "zip" | "npz":
            return ZipArchive(path, place, cache)
        case "parquet":
            return ParquetRows(path, place, cache)
        case _:
            return TarArchive(path, place, cache)
