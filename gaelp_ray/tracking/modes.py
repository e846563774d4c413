"""Whether W&B runs go online, and the environment that every process of it needs for that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gaelp_ray.errors import InputError, TrackingError
from gaelp_ray.tracking.server import TOO_MANY, Server, ServerBusy

Mode = Literal["online", "offline", "disabled"]
PROBE_SECONDS = 4.5


@dataclass(frozen=True)
class TrackingMode:
    """What was chosen, and why, in a person's words."""

    mode: Mode
    why: str


def choose_mode(wanted: str) -> TrackingMode:
    """Resolve `auto | online | offline | disabled`; auto goes online only where a server takes the key, in 5 s at most.

    Raises InputError when `online` was asked for and cannot be had, or when a WANDB_ variable makes no sense.
    """
    by_environment = os.environ.get("WANDB_MODE")
    if wanted == "auto" and by_environment in ("offline", "dryrun", "disabled"):
        return TrackingMode("disabled" if by_environment == "disabled" else "offline", "WANDB_MODE says so")
    if wanted in ("offline", "disabled"):
        return TrackingMode("offline" if wanted == "offline" else "disabled", "as it was asked for")
    try:
        server = _server_that_answers()
    except TrackingError as error:
        if wanted == "online":
            raise InputError(
                f"tracking.mode: online is not possible: {error}. Mend that, or use auto or offline"
            ) from None
        return TrackingMode("offline", str(error))
    return TrackingMode("online", f"a key is set and {server.shown} answers")


def _server_that_answers() -> Server:
    """The one that wandb would use. Raises TrackingError in 5 s at most."""
    server = Server.configured()
    try:
        server.probe(PROBE_SECONDS)
    except ServerBusy as error:
        if error.status != TOO_MANY:
            raise
    return server


def environment(mode: TrackingMode, folder: Path) -> dict[str, str]:
    """Variables for the driver and every worker: all that W&B writes lies below `folder`/wandb.

    WANDB_MODE has to be in the environment, because Ray's setup_wandb looks there before it asks for a key.
    """
    home = folder / "wandb"
    return {
        "WANDB_MODE": mode.mode,
        "WANDB_DIR": str(folder),
        "WANDB_DATA_DIR": str(home / "data"),
        "WANDB_CACHE_DIR": str(home / "cache"),
        "WANDB_SILENT": "true",
        "WANDB_CONSOLE": "off",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_HTTP_TIMEOUT": "5",
        "WANDB_INIT_TIMEOUT": "15",
        "WANDB_FINISH_TIMEOUT": "30",
    }
