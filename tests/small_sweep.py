"""A small sweep file that is right, with other keys, and what is said of it where they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gaelp_ray.sweep.format.spec import SweepSpec

PLAIN = {"name": "s", "method": "random", "parameters": {"x": {"values": [1, 2]}}}


def made(**keys: Any) -> SweepSpec:
    """The sweep of these keys."""
    return SweepSpec.model_validate(PLAIN | keys)


def complaint(**keys: Any) -> str:
    """The first thing that is wrong with them."""
    with pytest.raises(ValidationError) as refused:
        made(**keys)
    return refused.value.errors()[0]["msg"]


def written(folder: Path, name: str = "small", **keys: Any) -> Path:
    """A sweep file of these keys, whose storage is beside it."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, "storage": str(folder / "results"), **keys}))
    return path
