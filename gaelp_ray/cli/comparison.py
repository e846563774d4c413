"""A comparison of models for a person: each model with its interval, each pair with its difference and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from gaelp_ray.cli.drawing import drawn, scale_of
from gaelp_ray.cli.tables import WIDE
from gaelp_ray.records import MIN_DELIVERY, SCORE, Interval, shown


def show_comparison(facts: Mapping[str, Any], console: Console) -> None:
    """What `gaelp-ray compare --json` prints, as two tables and a closing line."""
    console.print(
        f"{facts['episodes']} fresh flights through {facts['market']}, the same for all", markup=False, highlight=False
    )
    _models(facts["models"], console)
    console.print()
    _pairs(facts["pairs"], console)
    for line in _closing(facts):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _models(models: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("model", overflow="fold")
    for title in ("agent", "delivered ROAS", "interval", "ROAS", "delivery", "optimality"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, style="bold")
    scale = scale_of(map(_interval_of, models))
    for model in models:
        interval = _interval_of(model)
        table.add_row(
            model["label"],
            model["model"],
            model["agent_type"],
            shown(model[SCORE], "{:.3f}"),
            f"{shown(interval.low, '{:.2f}')} to {shown(interval.high, '{:.2f}')}",
            shown(model["roas"], "{:.3f}"),
            shown(model["delivery"], "{:.1%}"),
            shown(model["optimality"], "{:.1%}"),
            drawn(model[SCORE], interval, scale) if console.width >= WIDE else "",
        )
    console.print(table, highlight=False, markup=False)


def _pairs(pairs: Sequence[Mapping[str, Any]], console: Console) -> None:
    wide = console.width >= WIDE
    measured = [name for name in ("delivery", "optimality") if any(name in pair for pair in pairs)] if wide else []
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("", "delivered ROAS", "interval", *([""] if wide else []), "first is better", "verdict", *measured):
        table.add_column(title, no_wrap=True, justify="left" if title in ("", "verdict") else "right")
    judged = [pair for pair in pairs if SCORE in pair]
    scale = scale_of((_interval(pair[SCORE]) for pair in judged), 0.0)
    for pair in judged:
        score = pair[SCORE]
        picture = [drawn(score["difference"], _interval(score), scale, mark=0.0)] if wide else []
        table.add_row(
            f"{pair['a']} - {pair['b']}",
            f"{score['difference']:+.3f}",
            f"{score['low']:+.3f} to {score['high']:+.3f}",
            *picture,
            _chance(score["probability"]),
            score["verdict"],
            *(_points(pair.get(name)) for name in measured),
        )
    console.print(table, highlight=False, markup=False)


def _interval_of(model: Mapping[str, Any]) -> Interval:
    return Interval(model[f"{SCORE}_low"], model[f"{SCORE}_high"])


def _interval(found: Mapping[str, Any]) -> Interval:
    return Interval(found["low"], found["high"])


def _chance(probability: float) -> str:
    if 0.001 <= probability <= 0.999:
        return f"{probability:.1%}"
    return "< 0.1%" if probability < 0.5 else "> 99.9%"


def _points(found: Mapping[str, Any] | None) -> str:
    """A difference of shares, in percentage points."""
    if found is None:
        return ""
    difference, low, high = (100.0 * found[name] for name in ("difference", "low", "high"))
    return f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"


def _closing(facts: Mapping[str, Any]) -> Iterator[str]:
    pairs, models = facts["pairs"], facts["models"]
    together = f" (the intervals of all {len(pairs)} pairs hold together)" if len(pairs) > 1 else ""
    others = "all others" if len(models) > 2 else "the other"
    named = next((f"{m['label']} ({m['model']})" for m in models if m["label"] == facts["best"]), "no model")
    yield f"{named} is above {others} at {facts['confidence']:.0%}{together}"
    if short := [m["label"] for m in models if m["delivery"] < MIN_DELIVERY]:
        yield f"{', '.join(short)}: delivers less than {MIN_DELIVERY:.0%} of the budget, too little to win a sweep"
