"""`medtrinity25m check`: is what a text says about an image true?"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from medtrinity25m.commands.console import Release, guarded, out
from medtrinity25m.errors import GateFailedError


@guarded
def check(
    folder: Release,
    texts: Annotated[
        Path | None, typer.Option(help="JSON lines: id, and text; the release's own texts unless given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every statement as a JSON line.")] = False,
) -> None:
    """Hold every statement of texts against masks, spacing, metadata and passages of their rows."""
    from medtrinity25m.quality.foreign import check_release, read_texts

    counts: Counter[tuple[str, str]] = Counter()
    wrong = 0
    for row in check_release(folder, None if texts is None else read_texts(texts)):
        for one in row.checked:
            counts[one.attribute, one.verdict] += 1
            words = row.texts[one.field][one.start : one.end]
            if as_json:
                typer.echo(json.dumps({"id": row.id, "words": words} | one.model_dump(mode="json"), ensure_ascii=False))
            elif one.verdict == "contradicted":
                typer.echo(f"{row.id} {one.field}: “{words}” says {one.attribute} {one.value}; {one.expected}")
            wrong += one.verdict == "contradicted"
    if not as_json:
        table = Table("statements of", "supported", "unsupported", "contradicted")
        for attribute in sorted({attribute for attribute, _ in counts}):
            cells = (counts[attribute, verdict] for verdict in ("supported", "unsupported", "contradicted"))
            table.add_row(attribute, *(f"{count:,}" for count in cells))
        out.print(table)
    if wrong:
        raise GateFailedError(f"{folder}: {wrong:,} statements are contradicted by their rows")
