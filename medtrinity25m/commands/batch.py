"""`medtrinity25m batch`: the requests of a build as batch files, and their results back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medtrinity25m.commands.console import guarded
from medtrinity25m.errors import ConfigError

if TYPE_CHECKING:
    from medtrinity25m.config import BuildConfig
    from medtrinity25m.description.options import DescribeOpenAI
    from medtrinity25m.description.replies import ReplyStore

app = typer.Typer(help="Describe by batch files: half the price, within a day.", no_args_is_help=True)
Config = Annotated[Path, typer.Argument(help="The YAML file of the build.", metavar="CONFIG")]


@app.command()
@guarded
def write(
    path: Config,
    folder: Annotated[Path, typer.Argument(help="A new folder for the files.", metavar="OUT")],
) -> None:
    """Write what a build would ask its model, as far as it has no reply yet."""
    from medtrinity25m.build import rehearse
    from medtrinity25m.config import load_config
    from medtrinity25m.description.batch import Collecting, begin, finish

    config = load_config(path)
    store, options = _teacher(config)
    begin(folder)
    rehearse(config, Collecting(options.model, store, folder, options))
    written = finish(folder, store)
    if not written.requests:
        typer.echo("nothing to ask: `medtrinity25m build` finds every reply")
        return
    typer.echo(f"{folder}: {written.requests:,} requests in {len(written.files)} files")
    typer.echo("send each as a batch for /v1/chat/completions, then: medtrinity25m batch read CONFIG RESULTS...")


@app.command()
@guarded
def read(
    path: Config,
    files: Annotated[list[Path], typer.Argument(help="Output and error files of the batches.", metavar="FILE...")],
) -> None:
    """Keep the results of batches as replies; the build then asks for nothing they answer."""
    from medtrinity25m.config import load_config
    from medtrinity25m.description.batch import read_results
    from medtrinity25m.errors import GateFailedError

    counts = read_results(files, _teacher(load_config(path))[0])
    typer.echo(f"{counts.lines:,} results: {counts.kept:,} kept, {counts.known:,} known before")
    for reason, count in sorted(counts.faults.items()):
        typer.echo(f"  {count:,} {reason}")
    for line in counts.told:
        typer.echo(line, err=True)
    if strange := sum(count for reason, count in counts.faults.items() if reason != "not answered"):
        raise GateFailedError(f"{strange:,} lines are no results of this build's batches; the others were kept")


def _teacher(config: BuildConfig) -> tuple[ReplyStore, DescribeOpenAI]:
    """Return where the replies of a build are kept, and how its model is asked.

    Raises:
        ConfigError: it does not describe by a server's model.
    """
    from medtrinity25m.build import reply_store
    from medtrinity25m.description.options import DescribeOpenAI

    if not isinstance(config.describe, DescribeOpenAI):
        raise ConfigError("batch files are for builds with describe: {backend: openai, endpoint: …, model: …}")
    return reply_store(config), config.describe
