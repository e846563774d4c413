"""Copies of the market files that a sweep file names, in the sweep's folder: it goes on wherever that is then."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gaelp_ray.market.market import is_market_file
from gaelp_ray.worlds import parts_of

MARKETS = "markets"


def copies(folder: Path, spec: Mapping[str, Any]) -> dict[str, Path]:
    """Market file as a sweep file writes it -> its copy; sweeps of earlier versions may have none."""
    found = {file: folder / MARKETS / name for file, name in _names(spec).items()}
    return {file: path for file, path in found.items() if path.is_file()}


def copy_markets(folder: Path, spec: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Copy the files that a sweep file names, but not those that it named before, whose copies stay what they are.

    Returns the names of the new copies in the folder.
    """
    new = {file: name for file, name in _names(spec).items() if file not in _names(before)}
    for file, name in new.items():
        (folder / MARKETS).mkdir(exist_ok=True)
        shutil.copyfile(file, folder / MARKETS / name)
    return [f"{MARKETS}/{name}" for name in new.values()]


def _names(spec: Mapping[str, Any]) -> dict[str, str]:
    """The copy of the trials' market has its name; the others' tells apart files of one name in several folders."""
    own = _within(spec, "trial", "market")
    named = {file: _apart(Path(file)) for file in _others(spec) if is_market_file(file)}
    return named | ({str(own): Path(str(own)).name} if is_market_file(own) else {})


def _others(spec: Mapping[str, Any]) -> Iterator[str]:
    listed = _within(spec, "select", "markets")
    for name in listed if isinstance(listed, list) else ():
        yield parts_of(str(name))[0]


def _apart(file: Path) -> str:
    return f"{file.stem}-{hashlib.sha256(str(file).encode()).hexdigest()[:8]}{file.suffix}"


def _within(spec: Mapping[str, Any], block: str, key: str) -> Any:
    """A value of a file that nobody has checked."""
    held = spec.get(block)
    return held.get(key) if isinstance(held, Mapping) else None
