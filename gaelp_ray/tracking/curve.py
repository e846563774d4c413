"""The learning curve of a training as W&B's own line charts: every episode, a moving average, a reference line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import wandb

POINTS = 500
"""Points of one line; longer trainings are thinned evenly, the last episode always stays."""


def learning_curve(episodes: Sequence[Mapping[str, Any]], reference: Mapping[str, float]) -> dict[str, Any]:
    """Charts of reward and of ROAS from the rows of episodes; `reference` are lines by name, such as BayesDual's ROAS.

    A chart without a single number is left out.
    """
    shown = {"reward": ("episode/total_reward", {}), "roas": ("performance/roas", reference)}
    charts = {
        f"learning_curve/{name}": _chart(name, lines(episodes, key, dict(ref))) for name, (key, ref) in shown.items()
    }
    return {name: chart for name, chart in charts.items() if chart is not None}


def lines(
    episodes: Sequence[Mapping[str, Any]], key: str, reference: Mapping[str, float]
) -> dict[str, tuple[list[float], list[float]]]:
    """(episodes, values) of each line by its name; nothing where no episode has the metric."""
    points = [(row["episode/number"], row[key]) for row in episodes if key in row and "episode/number" in row]
    if not points:
        return {}
    numbers, values = np.array(points, dtype=np.float64).T
    window = max(1, min(10, len(values) // 4))
    average = np.convolve(values, np.full(window, 1.0 / window), mode="valid")
    ends = np.array([numbers[0], numbers[-1]])
    return {
        "episodes": _thinned(numbers, values),
        f"mean of {window}": _thinned(numbers[window - 1 :], average),
        **{name: _thinned(ends, np.full(2, value)) for name, value in reference.items()},
    }


def _thinned(xs: np.ndarray[Any, Any], ys: np.ndarray[Any, Any]) -> tuple[list[float], list[float]]:
    kept = np.unique(np.linspace(0, len(xs) - 1, min(POINTS, len(xs))).round().astype(int))
    return xs[kept].tolist(), ys[kept].tolist()


def _chart(name: str, found: Mapping[str, tuple[list[float], list[float]]]) -> Any:
    if not found:
        return None
    xs, ys = zip(*found.values(), strict=True)
    return wandb.plot.line_series(xs, ys, keys=list(found), title=f"Learning curve: {name}", xname="episode")
