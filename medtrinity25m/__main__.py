"""The command line: one verb a user task.

Exit codes: 0 done; 2 usage, config, source or key; 3 a gate failed (rows missing, nothing usable, verify found
faults); 69 a server failed; 74 the disk refused a write; 75 another process holds the folder; 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Column, Table

from medtrinity25m import __version__
from medtrinity25m.commands import batch, instruct, knowledge, review
from medtrinity25m.commands.check import check
from medtrinity25m.commands.console import Release, Workers, guarded, out
from medtrinity25m.commands.quality import quality, validate
from medtrinity25m.errors import GateFailedError

KINDS: tuple[Literal["modality", "anatomy", "disease"], ...] = ("modality", "anatomy", "disease")

app = typer.Typer(
    name="medtrinity25m",
    help="Turn folders of medical images into a streaming dataset of image–ROI–description triplets.",
    epilog="Exit codes: 0 done, 2 usage or config, 3 gate failed, 69 server, 74 disk, 75 locked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.add_typer(knowledge.app, name="knowledge")
app.add_typer(batch.app, name="batch")
app.add_typer(instruct.app, name="instruct")
app.add_typer(review.app, name="review")
app.command()(check)
app.command()(quality)
app.command()(validate)


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Turn folders of medical images into a streaming dataset of image–ROI–description triplets."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
@guarded
def demo(
    dest: Annotated[Path, typer.Argument(help="Folder to write.")] = Path("medtrinity-25m"),
    workers: Workers = 1,
) -> None:
    """Build a small release from real images that come with installed packages, and stream it back."""
    from medtrinity25m.demo import collect
    from medtrinity25m.release.workspace import Workspace

    config = collect(dest, Workspace(dest).work / "inputs", say=lambda line: typer.echo(line, err=True))
    _build_and_tell(config, workers)
    _show_modalities(dest)
    out.print(
        f"\nThe dataset is in [bold]{escape(str(dest.resolve()))}[/]. From the folder that holds it:", highlight=False
    )
    out.print(f'  load_dataset("{escape(dest.name)}", streaming=True)', highlight=False)


@app.command()
@guarded
def sources(
    names: Annotated[list[str] | None, typer.Argument(help="Tell everything about these.", metavar="[ID]...")] = None,
) -> None:
    """List the packaged sources: modality, access, what may be passed on, licence."""
    from medtrinity25m.fetch import find_source
    from medtrinity25m.registry import packaged_sources

    for source in map(find_source, names or ()):
        about = source.model_dump(mode="json", exclude_defaults=True, exclude={"labels", "modalities", "layout"})
        for name, value in about.items():
            out.print(f"[bold]{name}[/]: {escape(str(value))}", highlight=False)
    if names:
        return
    known = packaged_sources().values()
    columns = ("modality", "licence", "access", "may be passed on")
    table = Table(Column("id", no_wrap=True), *columns, box=SIMPLE)
    for source in known:
        modality = source.modality or ", ".join(sorted(set(source.modalities.values()))) or "by header"
        cells = (source.id, _short(modality), source.license, source.access, source.redistribution)
        table.add_row(*map(escape, cells))
    out.print(table)
    out.print(f"{len(known)} sources; `medtrinity25m sources ID` tells all about one", highlight=False)


@app.command()
@guarded
def fetch(
    source: Annotated[str, typer.Argument(help="The id of a packaged source, or its TOML.", metavar="SOURCE")],
    dest: Annotated[Path, typer.Argument(help="The folder to write.", metavar="DEST")],
) -> None:
    """Download a source that can be had by program; the same command goes on where a stopped one was."""
    from medtrinity25m.fetch import fetch as have
    from medtrinity25m.fetch import find_source

    done = have(find_source(source), dest)
    typer.echo(f"{dest}: {done.files:,} files, {done.size:,} bytes{'' if done.news else ' (nothing to do)'}", err=True)
    for note in done.notes:
        typer.echo(f"  {note}", err=True)


@app.command()
@guarded
def experts(
    names: Annotated[list[str] | None, typer.Argument(help="Tell everything about these.", metavar="[ID]...")] = None,
) -> None:
    """List the packaged experts: what they find, how well, and under which licence."""
    from medtrinity25m.roi.card import find_card, packaged_cards

    for card in map(find_card, names or ()):
        for name, value in card.model_dump(mode="json", exclude_defaults=True).items():
            out.print(f"[bold]{name}[/]: {escape(str(value))}", highlight=False)
    if names:
        return
    columns = ("finds", "in", "licence: code, weights", "abstains below", "measured")
    table = Table(Column("id", no_wrap=True), *columns, box=SIMPLE)
    for card in packaged_cards().values():
        finds = dict.fromkeys(
            label for raw in card.labels if (meaning := card.meaning(raw)) is not None and (label := meaning.label)
        )
        licences = f"{card.code_license}, {card.weights_license or 'no weights'}"
        figures = [f"{one.metric} {one.value:g}{' (drawn)' if one.synthetic else ''}" for one in card.accuracy]
        measured = ", ".join(figures) or "not measured"
        what = ", ".join(finds) or "the field of view"
        cells = (card.id, what, ", ".join(card.modalities), licences, f"{card.min_score:g}", measured)
        table.add_row(*map(escape, cells))
    out.print(table)
    out.print("`medtrinity25m experts ID` says on what it was measured, and its limits", highlight=False)


@app.command()
@guarded
def vocab(
    words: Annotated[list[str] | None, typer.Argument(help="Show the terms nearest to these words.")] = None,
) -> None:
    """List the vocabularies' ids with their names: modalities, anatomy, diseases."""
    from medtrinity25m.registry import vocabulary

    table = Table("vocabulary", "id", "name", "also written")
    for kind in KINDS:
        known = vocabulary(kind)
        shown = known.nearest(" ".join(words), 5) if words else known.terms
        for term in (known[term_id] for term_id in shown):
            table.add_row(kind, term.id, escape(term.name), escape(", ".join(term.synonyms)))
    out.print(table)


@app.command()
@guarded
def build(
    config: Annotated[Path, typer.Argument(help="The YAML file that names sources and folders.", metavar="CONFIG")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows a source: a smoke run.")] = None,
    workers: Workers = 1,
) -> None:
    """Build the release a config describes; the same command again resumes it."""
    from medtrinity25m.config import load_config

    _build_and_tell(load_config(config, limit=limit), workers)


@app.command()
@guarded
def status(folder: Release) -> None:
    """Tell how far a build is."""
    from medtrinity25m.release.status import build_status

    table = Table("what", "count")
    for name, value in build_status(folder).items():
        table.add_row(escape(name), f"{value:,}" if isinstance(value, int) else escape(value))
    out.print(table)


@app.command()
@guarded
def verify(folder: Release) -> None:
    """Check every file against the manifest and every row against its own masks."""
    from medtrinity25m.release.verify import faults

    found = faults(folder)
    for fault in found:
        typer.echo(fault)
    if found:
        raise GateFailedError(f"{folder}: {len(found)} faults or more; build again to mend what the disk broke")
    typer.echo(f"{folder}: every file and every row is as it should be")


@app.command()
@guarded
def quarantine(
    folder: Release,
    rows: Annotated[bool, typer.Option("--rows", help="One JSON line a rejected record instead of the table.")] = False,
) -> None:
    """List what was refused, and why."""
    from medtrinity25m.release.status import quarantine_rows

    refused = quarantine_rows(folder)
    if rows:
        for row in refused:
            typer.echo(json.dumps(row, ensure_ascii=False))
        return
    by_code: dict[str, list[dict[str, Any]]] = {}
    for row in refused:
        by_code.setdefault(row["code"], []).append(row)
    table = Table("reason", "records", "for example")
    for code, group in sorted(by_code.items()):
        table.add_row(escape(code), f"{len(group):,}", escape(group[0]["detail"]))
    out.print(table)
    typer.echo(f"{len(refused):,} rejected")


@app.command()
@guarded
def explain(
    folder: Release,
    row_id: Annotated[str, typer.Argument(metavar="ID", help="A row's id, or its beginning.")],
    verdicts: Annotated[Path | None, typer.Option(help="Overlay of a review: what people found.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show everything known of one row: each sentence beside the measurement, column or passage it rests on."""
    from medtrinity25m.explain import NOT_RELEASED, TEXTS, found_by_people, grounds
    from medtrinity25m.explain import explain as find

    row = find(folder, row_id)
    if verdicts is not None:
        row["verdicts"] = found_by_people(verdicts, row["id"])
    if as_json:
        typer.echo(json.dumps(row, ensure_ascii=False, indent=1))
        return
    apart = (*TEXTS, "claims", "rois", "passages", "knowledge")
    plain = {name: value for name, value in row.items() if name not in apart}
    for name, value in plain.items():
        out.print(f"[bold]{name}[/]: {escape(str(value))}", highlight=False)
    for index, roi in enumerate(row["rois"]):
        about = {name: value for name, value in roi.items() if name != "text" and value is not None}
        out.print(f"[bold]roi {index}[/]: {escape(str(about))}", highlight=False)
    for field, sentence, held in grounds(row):
        out.print(f"\n[bold]{field}[/]: {escape(sentence)}", highlight=False)
        for one in held:
            said = f"“{one.words}” says {one.says}: {one.verdict}, by {one.rests_on}"
            out.print(f"    {escape(said)}", highlight=False, style=None if one.verdict == "supported" else "yellow")
        if not held:
            out.print("    nothing that can be checked", highlight=False)
    scores = {cited["passage_id"]: cited["score"] for cited in row["knowledge"]}
    for passage in row["passages"]:
        heading = f"{passage['title']} ({passage['passage_id']}, similarity {scores[passage['passage_id']]:g})"
        text = passage["text"] or NOT_RELEASED
        out.print(f"\n[bold]passage[/]: {escape(heading)}\n    {escape(text)}", highlight=False)


@app.command()
@guarded
def stream(
    folder: Release,
    config: Annotated[str, typer.Argument(help="A config: all, a modality, a disease, metadata, knowledge.")] = "all",
    split: Annotated[str | None, typer.Option(help="Only this split.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many rows.")] = None,
) -> None:
    """Print the rows of a release as JSON lines, pixels left out."""
    _show_rows(folder, config, split, limit)


@app.command()
@guarded
def schema() -> None:
    """Print the JSON Schema of the build config."""
    from medtrinity25m.config import BuildConfig

    typer.echo(json.dumps(BuildConfig.model_json_schema(), indent=1))


def _short(modalities: str) -> str:
    """Return up to two modalities, for a narrow column."""
    return modalities if modalities.count(",") < 2 else "several"


def _build_and_tell(config: Any, workers: int) -> None:
    from medtrinity25m.build import build as run_build

    outcome = run_build(config, workers=workers)
    rows = outcome.manifest["rows"]
    done = "nothing to do" if not outcome.built else f"{outcome.built} shards built, {outcome.kept} kept"
    counts = f"{rows['read']:,} read = {rows['written']:,} written + {rows['rejected']:,} rejected"
    typer.echo(f"{config.folder}: {counts} ({done})", err=True)
    if conflicts := outcome.manifest["split_conflicts"]:
        note = "patients were in several official splits; all their rows went to the most guarded one"
        typer.echo(f"  {conflicts:,} {note}", err=True)
    for code, count in outcome.manifest["rejected_by_reason"].items():
        typer.echo(f"  {count:,} {code}", err=True)


def _show_modalities(folder: Path) -> None:
    """Stream a release and show the first row of each modality, one with regions where there is one."""
    from medtrinity25m.stream import stream as rows

    shown: dict[str, dict[str, Any]] = {}
    for row in rows(folder):
        if not shown.get(row["modality"], {}).get("rois"):
            shown[row["modality"]] = row if row["rois"] else shown.get(row["modality"], row)
    table = Table("modality", "image", "regions", "caption")
    for modality, row in sorted(shown.items()):
        table.add_row(modality, f"{row['width']} x {row['height']}", str(len(row["rois"])), escape(row["caption"]))
    out.print(table)


def _show_rows(folder: Path, config: str, split: str | None, limit: int | None) -> None:
    from itertools import islice

    from medtrinity25m.stream import stream as rows

    for row in islice(rows(folder, config, split), limit):
        typer.echo(json.dumps(row, ensure_ascii=False, default=_name_of))


def _name_of(value: object) -> str:
    """Stand in for pixels in JSON output."""
    return f"<{type(value).__name__} {getattr(value, 'size', '')}>"


if __name__ == "__main__":
    sys.exit(app())
