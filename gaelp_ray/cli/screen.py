"""Where commands write: facts to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from gaelp_ray.checkpoint import plain

# A pipe has no width: a table in it is as wide as it needs to be.
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)


def print_json(content: Any) -> None:
    """Strict JSON for other programs."""
    print(json.dumps(plain(content), indent=2, allow_nan=False))
