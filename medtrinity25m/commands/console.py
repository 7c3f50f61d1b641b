"""What every command shares: the console it prints to, and how an error becomes a line and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.console import Console

from medtrinity25m.errors import MedTrinityError

out = Console()
if not out.is_terminal:
    out = Console(width=160)  # a file or a pipe has no width: nothing need be cut off
P = ParamSpec("P")
T = TypeVar("T")

Workers = Annotated[int, typer.Option(min=1, help="Processes to use.")]
Release = Annotated[Path, typer.Argument(help="A folder that `build` or `demo` wrote.", metavar="DIR")]


def guarded(function: Callable[P, T]) -> Callable[P, T]:
    """Turn the package's errors into a line on standard error and an exit code."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except MedTrinityError as error:
            typer.echo(f"medtrinity25m: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("medtrinity25m: stopped; the same command goes on from here", err=True)
            raise typer.Exit(130) from None

    return inner
