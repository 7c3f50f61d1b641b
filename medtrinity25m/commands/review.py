"""`medtrinity25m review`: blind packs for two readers, and what their verdicts come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Column, Table

from medtrinity25m.commands.console import Release, guarded, out

if TYPE_CHECKING:
    from medtrinity25m.quality.review.collect import Review

app = typer.Typer(
    help="Have two people judge a blind sample, and read what they found.", no_args_is_help=True, add_completion=False
)


@app.command()
@guarded
def export(
    folder: Release,
    dest: Annotated[Path, typer.Argument(help="An empty folder for the packs.", metavar="DEST")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many rows to draw.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the draw and of each reader's order.")] = 0,
    stratify: Annotated[
        Literal["modality"] | None, typer.Option(help="Draw as many of each modality, as far as there are.")
    ] = None,
) -> None:
    """Write a pack for each of two readers, and the key that says which item is which row."""
    from medtrinity25m.quality.review.pack import KEY, READERS
    from medtrinity25m.quality.review.pack import export as write_pack

    count = write_pack(folder, dest, count=n, seed=seed, stratify=stratify)
    packs = " and ".join(f"reader-{reader}/" for reader in READERS)
    typer.echo(f"{dest}: {count} items; hand out {packs} (open review.html), and keep {KEY} to yourself", err=True)


@app.command("import")
@guarded
def collect(
    sources: Annotated[
        list[Path],
        typer.Argument(help="The pack's folder with the sheets in it, or the sheets.", metavar="DEST_OR_CSV..."),
    ],
    release: Annotated[Path, typer.Option(help="The release the pack was made from.", metavar="DIR")],
    overlay: Annotated[
        Path | None, typer.Option("--out", help="Folder for overlay and report; `verdicts` beside the key unless said.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The pack's key.json, where it lies elsewhere.")] = None,
    decisions: Annotated[Path | None, typer.Option(help="A filled-in adjudication.csv.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Read the sheets back: accuracy, agreement, what to settle, and the verdicts as an overlay."""
    from medtrinity25m.quality.review import collect as sheets

    found = sheets.collect(sources, release, key=key, decisions=decisions)
    folder = overlay or (key or sheets.find_key(sources)).parent / "verdicts"
    sheets.write(found, folder, release)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1))
        return
    given = ", ".join(f"reader {name} gave {count:,}" for name, count in found.judged.items())
    out.print(f"{found.items} items, five verdicts each; {escape(given)}", highlight=False)
    out.print(_table(found))
    out.print("shares of correct with 95 % intervals; points on the paper's scale of 0 to 2", highlight=False)
    typer.echo(f"{folder}: {len(found.overlay):,} verdicts, {found.disputed:,} to settle", err=True)


def _table(found: Review) -> Table:
    """Return the attributes, one a line."""
    readers = [Column(f"reader {escape(name)}") for name in found.readers]
    table = Table("attribute", *readers, "together", "points", "agree", "Cohen's kappa", "Gwet's AC1", box=SIMPLE)
    for line in found.attributes:
        both = ["–"] * 3 if line.agreement is None else [str(value) for value in line.agreement]
        cells = [str(line.readers[name]) for name in found.readers]
        table.add_row(*map(escape, (line.attribute, *cells, str(line.accuracy), str(line.points), *both)))
    return table
