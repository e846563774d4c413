"""Options that several commands of `gaelp-ray` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

File = Annotated[Path, typer.Argument(help="Sweep file (YAML).", show_default=False)]
Sweep = Annotated[str, typer.Argument(help="Name, folder or URL of a sweep.", show_default=False)]
Storage = Annotated[str, typer.Option(help="Folder that holds the sweeps, or s3://bucket/prefix.")]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Folder of a model, or a sweep: its best; or a W&B artifact ENTITY/PROJECT/ARTIFACT:ALIAS.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another value than the file's, such as parameters.learning_rate.max=1e-3. May be repeated.",
    ),
]
Extend = Annotated[int | None, typer.Option(min=1, help="Add so many configurations to a sweep that is resumed.")]
Retry = Annotated[Literal["failed"] | None, typer.Option(help="Run failed trials of a sweep that is resumed again.")]
RESULTS = "results"


def help_without_command(context: typer.Context) -> None:
    """In the callback of a group of commands: print its help and exit with 0 where no command is named.

    `no_args_is_help` raises an exception of click, which some versions of typer bring a copy of.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit()


def overrides(name: str | None, storage: str | None) -> dict[str, Any]:
    """Keys of a sweep file's top level that an option replaces."""
    return ({"name": name} if name else {}) | ({"storage": storage} if storage else {})
