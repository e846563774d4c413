"""A deployed model as a W&B run that goes on from look to look, with one alert when its ROAS has fallen."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gaelp_ray.errors import StorageError
from gaelp_ray.evidence.decline import Watch
from gaelp_ray.tracking.mirror import Directories
from gaelp_ray.tracking.offline import read_run
from gaelp_ray.tracking.report import Destination, Report

ROWS = 500
"""Looks of a log in the run's history at most, evenly; the last one is always there."""

ALERTED = "alerted"


def log_watch(to: Destination, id: str, watch: Watch, model: str) -> str:
    """One run for one model and log, whose id they determine; returns where it is, in a line for a person.

    There is one alert: not another one where the run's summary on the server says so. Offline, the run replaces that
    of an earlier look, unless it has been uploaded, with its alert.
    """
    config = {"model": model, "false_alarm": watch.false_alarm, "card": asdict(watch.card)}
    report = Report.begin(to, "monitor", id, config)
    earlier = _earlier(id, report.directory)
    alerted = bool(report.told.get(ALERTED)) or any(map(_has_alerted, filter(_is_uploaded, earlier)))
    for flights in _looks(watch.flights):
        report.log(_row(watch, flights), step=flights)
    if watch.noticed_after is not None and not alerted:
        report.alert(f"ROAS of {model} has fallen", in_words(watch))
        alerted = True
    report.summarise(_summary(watch) | {ALERTED: alerted})
    report.close()
    for directory in earlier:
        if not _is_uploaded(directory):
            shutil.rmtree(directory, ignore_errors=True)
    return report.where


def in_words(watch: Watch) -> str:
    """What was noticed, and how sure that is."""
    card, after = watch.card, watch.noticed_after
    at = after - 1 if after is not None else -1
    floor = watch.expected.floor[at]
    return (
        f"noticed after {at + 1} flights: ROAS {watch.roas[at]:.3f}, at most {watch.high[at]:.3f} with all looks "
        f"accounted for, below {floor:.3f}, the low end of what the card expects of these flights (chosen with "
        f"{card.roas:.3f}, {card.low:.3f} to {card.high:.3f}); false alarms {watch.false_alarm:.1%} at most"
    )


def _looks(flights: int) -> list[int]:
    every = -(-flights // ROWS)
    return sorted({*range(every, flights + 1, every), flights})


def _row(watch: Watch, flights: int) -> dict[str, float]:
    values = {
        "observed/roas": watch.roas[flights - 1],
        "observed/low": watch.low[flights - 1],
        "observed/high": watch.high[flights - 1],
        "card/expected": watch.expected.roas[flights - 1],
        "card/low": watch.expected.floor[flights - 1],
    }
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def _summary(watch: Watch) -> dict[str, Any]:
    found = {"flights": watch.flights, "noticed_after": watch.noticed_after, "delivery": watch.delivery}
    found |= {"expected_roas": float(watch.expected.roas[-1]), "flights_left_out": watch.left_out}
    facts = {"degraded": watch.noticed_after is not None, "budget_control": watch.budget_control.value}
    return facts | {name: value for name, value in found.items() if value is None or np.isfinite(value)}


def _earlier(id: str, directory: Path | None) -> list[Path]:
    """Offline directories of earlier looks, if this one is offline, too."""
    if directory is None or not directory.name.startswith("offline-"):
        return []
    return [other for other in Directories.below(directory.parent).of(id) if other.name != directory.name]


def _is_uploaded(directory: Path) -> bool:
    return any(directory.glob("*.wandb.synced"))


def _has_alerted(directory: Path) -> bool:
    try:
        return bool(read_run(directory).summary.get(ALERTED))
    except StorageError:  # torn
        return False
