"""Options that several commands of `gaelp-ray` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

File = Annotated[Path, typer.Argument(help="Sweep file (YAML).", show_default=False)]
Storage = Annotated[Path, typer.Option(help="Folder that holds the sweeps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another value than the file's, such as parameters.learning_rate.max=1e-3. May be repeated.",
    ),
]
RESULTS = Path("results")


def overrides(name: str | None, storage: Path | None) -> dict[str, Any]:
    """Keys of a sweep file's top level that an option replaces."""
    return ({"name": name} if name else {}) | ({"storage": str(storage)} if storage else {})
