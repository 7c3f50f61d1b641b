"""`medtrinity25m instruct`: what a teacher wrote, as training data for a captioner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medtrinity25m.commands.console import Release, guarded

app = typer.Typer(
    help="Instruction data for a captioner, from the rows of a release.", no_args_is_help=True, add_completion=False
)


@app.callback()
def main() -> None:
    """Instruction data for a captioner, from the rows of a release."""


@app.command()
@guarded
def export(
    folder: Release,
    dest: Annotated[Path, typer.Argument(help="Folder for instruct.json and images/.", metavar="DEST")],
    n: Annotated[int | None, typer.Option("--n", min=1, help="At most so many rows, drawn by seed.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw and of each row's wording.")] = 0,
    describer: Annotated[str | None, typer.Option(help="Only rows it wrote: openai, transformers, measured.")] = None,
    split: Annotated[Literal["train", "validation"], typer.Option(help="Of these rows.")] = "train",
    task: Annotated[
        Literal["caption", "describe"],
        typer.Option(help="caption: image to caption. describe: the describing stage's question to its JSON."),
    ] = "caption",
) -> None:
    """Write rows in LLaVA's format; the same call again adds only what is missing."""
    from medtrinity25m.description.instruct import RECORDS, Choice
    from medtrinity25m.description.instruct import export as write

    done = write(folder, dest, Choice(task, n, seed, describer, split))
    typer.echo(f"{dest / RECORDS}: {done.records:,} records")
    for reason, rows in done.left_out.items():
        typer.echo(f"  {rows:,} {reason}", err=True)
