"""The W&B server and the key that wandb would use: from the environment, wandb's settings files, or netrc."""

from __future__ import annotations

import netrc
import os
import urllib.parse
from pathlib import Path

import wandb
from pydantic import ValidationError

from gaelp_ray.errors import InputError


def configured_account() -> tuple[str, str]:
    """The server's address and the key, empty where none is set; wandb itself is not started.

    Raises InputError where a WANDB_ variable makes no sense.
    """
    settings = wandb.Settings(silent=True)
    # As wandb.setup() does; without it, what `wandb login --host` has left is not found.
    config = os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb"
    settings.settings_system = str(Path(config).expanduser() / "settings")
    try:
        settings.update_from_system_settings()
        settings.update_from_env_vars(dict(os.environ))
    except (ValueError, wandb.Error) as error:
        raise InputError(f"a WANDB_ variable in the environment is wrong: {_first_reason(error)}") from None
    key = settings.api_key or _key_in_netrc(settings.base_url)
    return settings.base_url.rstrip("/"), key.strip()


def _first_reason(error: Exception) -> str:
    """The first problem of a pydantic error in one line; other errors as they are."""
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']} (it is {problem['input']!r})"
    return str(error)


def _key_in_netrc(base_url: str) -> str:
    """The key that `wandb login` has left; asking wandb.login() takes 5 s where the server is away."""
    path = os.environ.get("NETRC") or str(Path.home() / ".netrc")
    try:
        found = netrc.netrc(path).authenticators(urllib.parse.urlsplit(base_url).netloc)
    except (OSError, netrc.NetrcParseError):
        return ""
    return (found[2] or "") if found else ""
