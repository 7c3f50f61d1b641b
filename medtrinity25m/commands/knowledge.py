"""`medtrinity25m knowledge`: a base of passages is filled, listed, asked and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from medtrinity25m.commands.console import guarded, out
from medtrinity25m.errors import ConfigError, GateFailedError
from medtrinity25m.knowledge.options import PACKAGED, Knowledge

app = typer.Typer(help="A base of passages that descriptions rest on.", no_args_is_help=True, add_completion=False)

BASE = Annotated[Path, typer.Argument(help="The folder of the base.", metavar="BASE")]


@app.callback()
def main() -> None:
    """A base of passages that descriptions rest on."""


@app.command()
@guarded
def add(
    base: BASE,
    files: Annotated[
        list[str],
        typer.Argument(help="Files, folders; `packaged`: what installed packages bring.", metavar="FILE..."),
    ],
    form: Annotated[
        str | None, typer.Option("--format", help="pubmed, nxml, textbook or medrag; by content unless said.")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="Name of the corpus; by format unless said.")] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="SPDX id or LicenseRef-… of texts that state none.")
    ] = None,
) -> None:
    """Add corpora to a base; what is there already is skipped, and a stopped call goes on."""
    from medtrinity25m.knowledge.retrieve import add_packaged
    from medtrinity25m.knowledge.store import Store

    store = Store(base)
    if PACKAGED in files:
        for name, done in add_packaged(store):
            _tell(name, done)
    given = [Path(file) for file in files if file != PACKAGED]
    if given:
        done = store.add(given, format=form, corpus=corpus, license=license_, say=_say)
        _tell(str(base), done)
        if done.failed:
            raise GateFailedError(f"{base}: {len(done.failed)} of the files cannot be used; see above")


@app.command("list")
@guarded
def list_(base: BASE) -> None:
    """List the corpora of a base: licence, files, documents, passages."""
    from medtrinity25m.knowledge.store import Store

    store = Store(_there(base))
    table = Table("corpus", "licence", "files", "documents", "passages", "refused", "empty")
    for one in store.corpora():
        counts = (one.files, one.documents, one.snippets, one.refused, one.empty)
        table.add_row(escape(one.corpus), escape(one.license), *(f"{count:,}" for count in counts))
    out.print(table)
    out.print(f"snapshot {store.snapshot()}", highlight=False)


@app.command()
@guarded
def query(
    base: Annotated[str, typer.Argument(help="The folder of the base, or `packaged`.", metavar="BASE")],
    text: Annotated[str, typer.Argument(help="A caption, a finding, a question.", metavar="TEXT")],
    top_k: Annotated[int, typer.Option(min=1, max=64, help="At most so many passages.")] = 8,
    corpus: Annotated[list[str] | None, typer.Option(help="Only this corpus; may be given again.")] = None,
    embedder: Annotated[
        str, typer.Option(help="wordllama, minilm, or the folder of a sentence-transformers model.")
    ] = "wordllama",
    server: Annotated[str | None, typer.Option(help="URL of a Chroma server, for large bases.")] = None,
    floor: Annotated[float | None, typer.Option(help="Lowest score of a passage whose subject is not known.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder the packaged base is made in.")] = Path("medtrinity25m.cache"),
) -> None:
    """Show the passages a query finds, with their scores; the first query builds the index."""
    from medtrinity25m.knowledge.retrieve import open_base

    where: Any = PACKAGED if base == PACKAGED else _there(Path(base))
    model: Any = embedder if embedder in ("wordllama", "minilm") else _model(Path(embedder))
    options = Knowledge(base=where, embedder=model, server=server, floor=floor)
    opened = open_base(options, cache.absolute(), Path.cwd(), _say)
    opened.prepare()
    hits = opened.search(text, top_k=top_k, corpora=corpus or ())
    for hit in hits:
        about = f" ({', '.join(hit.snippet.terms)})" if hit.snippet.terms else ""
        head = f"[bold]{hit.score:.3f}[/] {escape(hit.snippet.title)}{escape(about)}"
        out.print(f"{head}\n  {escape(hit.snippet.id)}", highlight=False)
        out.print(f"  {escape(hit.snippet.text)}", highlight=False)
    if not hits:
        typer.echo(f"nothing fits: of passages on other subjects only a score of {opened.least:g} would do", err=True)


@app.command()
@guarded
def verify(base: BASE) -> None:
    """Check a base: every part against its hash, every passage against its id, every index against its marker."""
    from medtrinity25m.knowledge.index import index_faults
    from medtrinity25m.knowledge.store import Store

    faults = [*Store(_there(base)).faults(), *index_faults(base)]
    for fault in faults:
        typer.echo(fault)
    if faults:
        raise GateFailedError(f"{base}: {len(faults)} faults")
    typer.echo(f"{base}: every passage and every index is as it should be")


def _tell(what: str, done: Any) -> None:
    counts = f"{done.files:,} read, {done.skipped:,} there already, {done.ignored:,} of no known format"
    typer.echo(f"{what}: {counts}; {done.documents:,} documents, {done.snippets:,} passages", err=True)
    for code, count in done.refused.items():
        typer.echo(f"  {count:,} {code}", err=True)
    if done.empty:
        typer.echo(f"  {done.empty:,} without text", err=True)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _there(base: Path) -> Path:
    if not base.is_dir():
        raise ConfigError(f"{base} is no folder; `medtrinity25m knowledge add {base} FILE...` makes a base")
    return base


def _model(folder: Path) -> dict[str, Any]:
    return {"kind": "sentence_transformers", "path": folder}
