"""Copies of a sweep's models in folders of a person's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from gaelp_ray.errors import StorageError


def copy_model(source: Path, target: Path, overwrite: bool) -> None:
    """Copy a model's folder; what is there already is replaced only if it is a model, and only if asked to."""
    if target.exists():
        is_model = (target / "model.json").is_file() or (target.is_dir() and not any(target.iterdir()))
        if not (is_model and overwrite):
            remedy = "replace it with --overwrite" if is_model else "it is no model's folder"
            raise StorageError(f"{target} exists already: give another folder with -o ({remedy})")
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"cannot copy the model to {target}: {error}") from None
