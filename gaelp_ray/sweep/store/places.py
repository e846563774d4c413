"""A folder that holds sweeps."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from gaelp_ray.errors import StorageError


def require_writable(storage: Path) -> None:
    """Make the folder if need be, and try it. Raises StorageError."""
    try:
        storage.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=storage):
            pass
    except OSError as error:
        raise StorageError(
            f"cannot write to the storage folder {storage}: {os.strerror(error.errno or 0)}. "
            "Change `storage`, or give another with --storage"
        ) from None
