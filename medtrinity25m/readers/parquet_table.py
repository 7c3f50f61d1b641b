"""Rows of a Parquet file as cells, without the bytes of images in it.

**Why** columns that hold bytes are left out: a table cell is text or a number, and eight thousand rows of a column of
pictures would fill the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types

from medtrinity25m.errors import ConfigError, RefusedError

BATCH_ROWS = 4096
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError, ImportError, NotImplementedError)
"""What Arrow raises for damaged files, and for cells that no Python type holds."""


def parquet_rows(place: Path, path: str, embedded: str | None) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield where each row stands, and its cells; the cell of column `embedded` is the address of its bytes.

    Raises:
        ConfigError: two columns have the same name.
        RefusedError: `table.parquet` for a file that cannot be read to its end.
    """
    try:
        with pq.ParquetFile(place, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            if len(set(names)) != len(names):
                raise ConfigError(f"{path}: two columns have the same name; rename one: {', '.join(names)}")
            text = [field.name for field in file.schema_arrow if not _holds_bytes(field.type)]
            start = 0
            for batch in file.iter_batches(columns=text, batch_size=BATCH_ROWS):
                cells = [batch.column(name).to_pylist() for name in batch.schema.names]
                for at in range(batch.num_rows):
                    row = {name: column[at] for name, column in zip(batch.schema.names, cells, strict=True)}
                    if embedded in names:
                        row[embedded] = f"{path}!/{embedded}/{start + at}"
                    yield f"{path}#row={start + at}", row
                start += batch.num_rows
            if start != file.metadata.num_rows:
                raise RefusedError("table.parquet", f"{path}: rows are missing; fetch the file again")
    except _DAMAGE as error:
        raise RefusedError("table.parquet", f"{path} is no Parquet file that can be read: {error}") from None


def _holds_bytes(kind: Any) -> bool:
    """Say whether a column's type is binary, or has a binary part."""
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    if types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    return any(_holds_bytes(kind.field(at).type) for at in range(kind.num_fields))
