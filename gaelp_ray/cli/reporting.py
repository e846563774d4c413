"""Options of commands that log what they found out as a W&B run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gaelp_ray.tracking.report import Destination

Wandb = Annotated[bool, typer.Option("--wandb", help="Log it as a W&B run too: online with a key, else offline.")]
Project = Annotated[str | None, typer.Option(help="W&B project of that run.", show_default="gaelp-rl-training")]
Entity = Annotated[str | None, typer.Option(help="W&B entity of that run; default: your own.")]
RunName = Annotated[str | None, typer.Option(help="Name of that run.")]


def destination(project: str | None, entity: str | None, name: str) -> Destination:
    """Where the run goes."""
    from gaelp_ray.tracking.report import Destination  # brings wandb

    return Destination(project, entity, name) if project else Destination(entity=entity, name=name)
