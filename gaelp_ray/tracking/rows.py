"""The rows that a tracker logs, from what a person hands over. Pure: numbers in, names and numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaelp_ray.records import logged_episode, logged_performance, performance_name, ratio
from gaelp_ray.tracking.values import Sifted, number, sift

Column = np.ndarray[Any, np.dtype[np.float64]]

PROGRESSING = ("reward", "roas")
PAIRED = "batch/roas_vs_bayesdual"


def episode_row(core: Mapping[str, Any], performance: Mapping[str, Any], additional: Mapping[Any, Any]) -> Sifted:
    """One episode. `core`: number, total_reward, steps; `performance`: named as in EpisodeMetrics, None if unknown.

    What follows from these is added (profit, cost per click, cost per conversion, ...) where it was measured.
    """
    named = {performance_name(name).partition("/")[2]: value for name, value in performance.items()}
    parts = [sift(core, "episode"), sift(named, "performance"), sift(additional, "custom")]
    wrong = {name: why for part in parts for name, why in part.wrong.items()}
    given = {name: value for part in parts for name, value in part.good.items()}
    return Sifted(_measured(_derived(core, performance, additional)) | given, wrong)


def _derived(
    core: Mapping[str, Any], performance: Mapping[str, Any], additional: Mapping[Any, Any]
) -> dict[str, float]:
    values = {name: number(value) for name, value in performance.items()}
    clicks, conversions = (number(additional.get(name)) for name in ("clicks", "conversions"))
    if performance["cpc"] is None:
        values["cpc"] = ratio(values["cost"], clicks)
    if math.isnan(clicks):
        clicks = ratio(values["cost"], values["cpc"])
    if math.isnan(conversions):
        conversions = values["conversion_rate"] * clicks
    steps = number(core["steps"])
    row = logged_performance(values, steps, conversions)
    return row | logged_episode(number(core["number"]), number(core["total_reward"]), steps)


def batch_row(episodes: Sequence[Mapping[str, Any]], size: int, first: Mapping[str, float]) -> Sifted:
    """Means, deviations and trend of a batch; `first` is the row of the first batch, empty if this is it.

    The names say `size` whatever the last batch holds, so that a curve keeps its name; `batch/episodes` counts.
    """
    keys = {"reward": "total_reward", "roas": "final_roas", "steps": "steps"}
    columns = {name: _column(episodes, key) for name, key in keys.items()}
    row = {"batch/episodes": float(len(episodes)), "batch/reward_trend": _slope(columns["reward"])}
    for name, column in columns.items():
        row[f"batch/avg_{name}_{size}ep"] = float(np.mean(column)) if column.size else math.nan
    for name in PROGRESSING:
        row[f"batch/std_{name}_{size}ep"] = float(np.std(columns[name])) if columns[name].size else math.nan
        mean = f"batch/avg_{name}_{size}ep"
        row[f"batch/{name}_progression"] = row[mean] - (first or row).get(mean, math.nan)
    sifted = [sift({key: episode.get(key) for key in keys.values()}, "batch") for episode in episodes]
    return Sifted(_measured(row), {name: why for part in sifted for name, why in part.wrong.items()})


def paired_row(episodes: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]]) -> Sifted:
    """Pooled ROAS minus that of BayesDual on the same flights, in the same order, with its standard error.

    The error is that of the delta method on pairs: luck that a flight brings to both cancels.
    """
    if len(reference) != len(episodes):
        return Sifted({}, {PAIRED: f"{len(reference)} episodes of BayesDual for {len(episodes)} of the agent"})
    (ours, our_errors), (theirs, their_errors) = map(_pooled_roas, (episodes, reference))
    errors = our_errors - their_errors
    error = float(np.std(errors, ddof=1)) / math.sqrt(errors.size) if errors.size > 1 else math.nan
    return Sifted(_measured({PAIRED: ours - theirs, f"{PAIRED}_se": error}), {})


def _pooled_roas(episodes: Sequence[Mapping[str, Any]]) -> tuple[float, Column]:
    """Revenue / cost of all episodes, and how far each of them is from it, relative to their mean cost."""
    revenue, cost = (
        np.array([number(episode.get(key)) for episode in episodes]) for key in ("total_revenue", "total_cost")
    )
    roas = ratio(float(revenue.sum()), float(cost.sum()))
    return roas, (revenue - roas * cost) / (float(cost.mean()) or math.nan)


def _column(episodes: Sequence[Mapping[str, Any]], key: str) -> Column:
    """The numbers of those episodes that have one."""
    column = np.array([number(episode.get(key)) for episode in episodes], dtype=np.float64)
    return column[np.isfinite(column)]


def _slope(values: Column) -> float:
    """Change from one episode to the next: the least-squares line; NaN for fewer than two."""
    if values.size < 2:
        return math.nan
    places = np.arange(values.size) - (values.size - 1) / 2.0
    return float(places @ values / (places @ places))


def _measured(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if math.isfinite(value)}


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """A training in a few numbers: rewards and ROAS as means over episodes, and ROAS pooled over all money."""
    reward, roas = _column(results, "total_reward"), _column(results, "final_roas")
    last = results[-10:]
    row = {
        "total_episodes": float(len(results)),
        "avg_reward": _mean(reward),
        "max_reward": float(reward.max()) if reward.size else math.nan,
        "avg_roas": _mean(roas),
        "max_roas": float(roas.max()) if roas.size else math.nan,
        "final_10_avg_reward": _mean(_column(last, "total_reward")),
        "final_10_avg_roas": _mean(_column(last, "final_roas")),
        "pooled_roas": ratio(
            float(_column(results, "total_revenue").sum()), float(_column(results, "total_cost").sum())
        ),
    }
    return _measured(row)


def _mean(values: Column) -> float:
    return float(values.mean()) if values.size else math.nan
