"""Whether W&B runs go online, and the environment that every process of it needs for that."""

from __future__ import annotations

import netrc
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import wandb
from pydantic import ValidationError

from gaelp_ray.errors import InputError

Mode = Literal["online", "offline", "disabled"]
PROBE_SECONDS = 3.0


@dataclass(frozen=True)
class TrackingMode:
    """What was chosen, and why, in a person's words."""

    mode: Mode
    why: str


def choose_mode(wanted: str) -> TrackingMode:
    """Resolve `auto | online | offline | disabled`; auto goes online only with a key and an answering server.

    Raises InputError when `online` was asked for and cannot be had, or when a WANDB_ variable makes no sense.
    """
    by_environment = os.environ.get("WANDB_MODE")
    if wanted == "auto" and by_environment in ("offline", "dryrun", "disabled"):
        return TrackingMode("disabled" if by_environment == "disabled" else "offline", "WANDB_MODE says so")
    if wanted in ("offline", "disabled"):
        return TrackingMode("offline" if wanted == "offline" else "disabled", "as it was asked for")
    settings = _settings()
    missing = _what_online_lacks(settings)
    if not missing:
        return TrackingMode("online", f"a key is set and {_shown(settings.base_url)} answers")
    if wanted == "online":
        raise InputError(f"tracking.mode: online is not possible: {missing}. Mend that, or use auto or offline")
    return TrackingMode("offline", missing)


def _settings() -> wandb.Settings:
    """wandb's settings from its files and the environment, without starting wandb."""
    settings = wandb.Settings()
    try:
        settings.update_from_system_settings()
        settings.update_from_env_vars(dict(os.environ))
    except ValueError as error:
        raise InputError(f"a WANDB_ variable in the environment is wrong: {_first_reason(error)}") from None
    return settings


def _first_reason(error: ValueError) -> str:
    """The first problem of a pydantic error in one line; other errors as they are."""
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']} (it is {problem['input']!r})"
    return str(error)


def _shown(url: str) -> str:
    """A URL without the user and password that it may hold."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _what_online_lacks(settings: wandb.Settings) -> str:
    """Empty where a key is set and the server answers; else what is missing."""
    if not (settings.api_key or _key_in_netrc(settings.base_url)):
        return "no W&B key is set (WANDB_API_KEY or `wandb login`)"
    try:
        urllib.request.urlopen(settings.base_url, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        return ""  # any answer is a server's
    except (OSError, ValueError) as error:
        return f"{_shown(settings.base_url)} does not answer ({getattr(error, 'reason', error)})"
    return ""


def _key_in_netrc(base_url: str) -> bool:
    """Whether `wandb login` has left a key; asking wandb.login() takes 5 s where the server is away."""
    path = os.environ.get("NETRC") or str(Path.home() / ".netrc")
    try:
        return netrc.netrc(path).authenticators(urllib.parse.urlsplit(base_url).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        return False


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
