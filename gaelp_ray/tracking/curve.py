"""The learning curve of a training: its lines, W&B's charts of them, and the picture's way into W&B.

Every panel has the episodes, their moving average, and reference lines: a bidder's ROAS as one number, or the rows of
the episodes that it has flown, best the very same flights, whose moving average is then comparable point by point.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import wandb
from PIL import Image

from gaelp_ray.records import FloatArray

POINTS = 200
"""Points of one line; longer trainings are thinned evenly, the last episode always stays."""

PANELS = {"reward": "episode/total_reward", "roas": "performance/roas", "optimality": "custom/optimality"}

Rows: TypeAlias = Sequence[Mapping[str, Any]]
Reference: TypeAlias = "float | Rows"
Line: TypeAlias = tuple[list[float], list[float]]


def learning_curve(episodes: Rows, reference: Mapping[str, Reference]) -> dict[str, Any]:
    """Charts of reward, ROAS and optimality from the rows of episodes. A chart without a single number is left out."""
    charts = {f"learning_curve/{name}": _chart(name, lines(episodes, key, reference)) for name, key in PANELS.items()}
    return {name: chart for name, chart in charts.items() if chart is not None}


def lines(episodes: Rows, key: str, reference: Mapping[str, Reference]) -> dict[str, Line]:
    """(episodes, values) of each line by its name, first the single episodes and their moving average.

    Nothing where no episode has the metric; a reference without it is left out.
    """
    numbers, values = _points(episodes, key)
    if not numbers.size:
        return {}
    window = max(1, min(10, len(values) // 4), len(values) // 50)
    found = {"episodes": _thinned(numbers, values), f"mean of {window}": _averaged(numbers, values, window)}
    for name, told in reference.items():
        if isinstance(told, (int, float)):
            if key == PANELS["roas"]:
                found[name] = _thinned(numbers[[0, -1]], np.full(2, float(told)))
            continue
        theirs = _points(told, key)
        if theirs[0].size:
            # As many flights as above, or, where it has flown fewer of them, a quarter of its own.
            found[name] = _averaged(*theirs, max(1, min(window, theirs[0].size // 4)))
    return found


def _points(rows: Rows, key: str) -> tuple[FloatArray, FloatArray]:
    points = [(row["episode/number"], row[key]) for row in rows if key in row and "episode/number" in row]
    numbers, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
    return numbers, values


def _averaged(numbers: FloatArray, values: FloatArray, window: int) -> Line:
    return _thinned(numbers[window - 1 :], np.convolve(values, np.full(window, 1.0 / window), mode="valid"))


def _thinned(xs: FloatArray, ys: FloatArray) -> Line:
    kept = np.unique(np.linspace(0, len(xs) - 1, min(POINTS, len(xs))).round().astype(int))
    return xs[kept].tolist(), ys[kept].tolist()


def _chart(name: str, found: Mapping[str, Line]) -> Any:
    if not found:
        return None
    xs, ys = zip(*found.values(), strict=True)
    return wandb.plot.line_series(xs, ys, keys=list(found), title=f"Learning curve: {name}", xname="episode")


def png_image(png: bytes) -> Any:
    """W&B's image of a PNG."""
    return wandb.Image(Image.open(io.BytesIO(png)))
