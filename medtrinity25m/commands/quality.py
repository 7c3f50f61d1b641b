"""`medtrinity25m quality` and `medtrinity25m validate`: how good the descriptions of a release are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from medtrinity25m.commands.console import Release, guarded, out
from medtrinity25m.errors import ConfigError

if TYPE_CHECKING:
    from medtrinity25m.quality.judge import JudgeReport
    from medtrinity25m.quality.release_rows import Row
    from medtrinity25m.quality.tally import Means
    from medtrinity25m.quality.validate import Validation

Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]
Seed = Annotated[int, typer.Option(help="Of the draw, the bootstrap and the permutations.")]


@guarded
def quality(
    folder: Release,
    endpoint: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server whose model judges too.", metavar="URL")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The judging model's name on that server.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many rows the model judges.")] = 200,
    seed: Seed = 0,
    replies: Annotated[
        Path | None, typer.Option(help="Folder that keeps the model's answers; what is there is not asked again.")
    ] = None,
    source_tomls: Annotated[
        list[Path] | None,
        typer.Option("--source", help="TOML of a source of your own: says whether its images may be sent."),
    ] = None,
    egress_allow: Annotated[
        list[str] | None, typer.Option(help="Origin (https://host) to which local-only sources may be sent.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score every description on the paper's five attributes, by rules and, with an endpoint, by a model."""
    from medtrinity25m.quality.release_rows import draw, metadata_rows, rows_with_id
    from medtrinity25m.quality.scores import COLUMNS
    from medtrinity25m.quality.tally import Tally, means, tally

    judged, own = None, None
    if (endpoint is None) != (model is None):
        raise ConfigError("a judging model needs both --endpoint and --model")
    if endpoint is not None and model is not None:
        drawn = rows_with_id(folder, draw(folder, n, seed), pixels=True)
        _check_egress(drawn.values(), endpoint, source_tomls or (), egress_allow or ())
        scorer = Tally()
        own = {row_id: scorer.add(row) for row_id, row in drawn.items()}
        judged = _judge([drawn[row_id] for row_id in sorted(drawn)], endpoint, model, replies)
    counts = tally(metadata_rows(folder, COLUMNS))
    found = means(counts, judged, own, seed)
    if as_json:
        about = {"rows": counts.rows, "claims": dict(sorted(counts.verdicts.items()))}
        judge = None if judged is None else judged.as_json()
        typer.echo(json.dumps(about | {"means": [one.as_json() for one in found], "judge": judge}, indent=1))
        return
    _show_means(found, counts.rows, judged)
    claims = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(counts.verdicts.items()))
    out.print(f"claims: {claims or 'none'}", highlight=False)


@guarded
def validate(
    folder: Release,
    reference: Annotated[
        Path, typer.Option(help="JSON lines: id, and report, attributes or boxes.", metavar="HUMAN.JSONL")
    ],
    against: Annotated[
        Path | None, typer.Option(help="A second release of the same images, by another describer.", metavar="DIR2")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare descriptions with what people say of the same images, and two describers with each other."""
    from medtrinity25m.quality.validate import validate as compare

    found = compare(folder, reference, against=against, seed=seed)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1, ensure_ascii=False))
        return
    _show_validation(found)


def _judge(rows: Sequence[Row], endpoint: str, model: str, replies: Path | None) -> JudgeReport:
    """Have the model at an endpoint judge rows."""
    from medtrinity25m.description.backends.openai import OpenAIModel, OpenAIOptions
    from medtrinity25m.description.replies import Remembering, ReplyStore
    from medtrinity25m.quality.judge import judge

    asked = OpenAIModel(OpenAIOptions(endpoint=endpoint, model=model))
    return judge(rows, asked if replies is None else Remembering(asked, ReplyStore(replies)))


def _check_egress(rows: Iterable[Row], endpoint: str, tomls: Sequence[Path], allow: Sequence[str]) -> None:
    """Refuse an endpoint that the images of these rows may not be sent to; what nobody can tell is refused too."""
    from medtrinity25m.description.egress import check_egress, is_loopback
    from medtrinity25m.registry import load_source, packaged_source

    own = {source.id: source for source in map(load_source, tomls)}
    ids = sorted({row["source"] for row in rows})
    known = {name: own.get(name) or packaged_source(name) for name in ids}
    unknown = [name for name, source in known.items() if source is None]
    if unknown and not is_loopback(endpoint):
        said = f"nothing says whether the images of {', '.join(unknown)} may leave this machine"
        raise ConfigError(f"{said}; give the sources' TOMLs with --source, or use an endpoint on this machine")
    check_egress([source for source in known.values() if source is not None], {"--endpoint": endpoint}, allow)


def _show_means(found: Sequence[Means], rows: int, judged: JudgeReport | None) -> None:
    table = Table("attribute", f"rules, all {rows:,} rows", "rules, rows that hold it", "of", box=SIMPLE)
    if judged is not None:
        for title in ("rules, judged rows", f"judge, {len(judged.judged):,} rows", "judge − rules"):
            table.add_column(title)
    for one in found:
        holding = ("–", "–") if one.name == "total" else (str(one.holding), f"{one.holding.n:,}")
        cells = [one.name, str(one.every), *holding]
        cells += [] if judged is None else [str(one.same_rows), str(one.judge), str(one.apart)]
        table.add_row(*map(escape, cells))
    out.print(table)
    out.print("means of 0 to 2 (total: of 10) with 95 % bootstrap intervals over rows", highlight=False)
    if judged is not None:
        failed = ", ".join(f"{count:,} {code}" for code, count in sorted(judged.failures.items())) or "none"
        out.print(
            f"judge: {escape(judged.model)}; {judged.asked:,} rows asked, without score: {failed}", highlight=False
        )


def _show_validation(found: Validation) -> None:
    table = Table("what", "of", "release", box=SIMPLE)
    two = len(found.builds) > 1
    if two:
        for title in ("against", "difference", "p", "p (Holm)"):
            table.add_column(title)
    for line in found.lines:
        cells = [f"{line.metric.group}: {line.metric.name}", f"{line.ours.n:,}", str(line.ours)]
        if two:
            cells += [str(line.against), str(line.apart), _p(line.p), _p(line.p_holm)]
        table.add_row(*map(escape, cells))
    out.print(table)
    _show_beyond_chance(found)
    out.print(
        f"{found.rows:,} rows, {found.references:,} reference lines; 95 % intervals over patients", highlight=False
    )
    if found.silent and any(found.silent.values()):
        silent = ", ".join(f"{name} {count:,}" for name, count in found.silent.items() if count)
        out.print(f"not said by the texts: {silent}", highlight=False)
    if found.not_in_release:
        out.print(f"in the reference only: {escape(', '.join(found.not_in_release))}", highlight=False)
    if found.not_in_reference:
        first = ", ".join(found.not_in_reference_first)
        more = " …" if found.not_in_reference > len(found.not_in_reference_first) else ""
        out.print(f"in the release only: {found.not_in_reference:,} rows ({first}{more})", highlight=False)


def _show_beyond_chance(found: Validation) -> None:
    if not found.beyond_chance:
        return
    table = Table("attribute", "agree", "Cohen's kappa", "Gwet's AC1", box=SIMPLE)
    for name, agreed in found.beyond_chance.items():
        table.add_row(*map(escape, (name, *map(str, agreed))))
    out.print(table)


def _p(value: float | None) -> str:
    """Return a p-value as it is printed."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
