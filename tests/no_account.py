"""Surroundings in which a person has no W&B account, for the tests of a module."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import wandb


@contextmanager
def no_account(home: Path, **variables: object) -> Iterator[Path]:
    """A home of its own, and these environment variables; of W&B's only these. Its service ends with the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name, value in {"HOME": home, "WANDB_SILENT": "true", **variables}.items():
            patch.setenv(name, str(value))
        yield home
        wandb.teardown()
