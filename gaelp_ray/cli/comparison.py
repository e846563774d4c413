"""A comparison of models for a person: each model with its interval, each pair with its difference and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from gaelp_ray.cli.columns import NARROW, Column, print_table, shortened
from gaelp_ray.cli.drawing import drawn, scale_of
from gaelp_ray.cli.scores import score_legend
from gaelp_ray.cli.screen import print_sentence
from gaelp_ray.records import MIN_DELIVERY, SCORE, Interval, shown

Facts = Mapping[str, Any]


def show_comparison(facts: Mapping[str, Any], console: Console) -> None:
    """What `gaelp-ray compare --json` prints, as two tables and a closing line."""
    console.print(
        f"{facts['episodes']} fresh flights through {facts['market']}, the same for all", markup=False, highlight=False
    )
    _models(facts["models"], console)
    console.print()
    _pairs(facts["pairs"], console)
    print_sentence(console, score_legend(facts["models"]), "dim")
    for line in _closing(facts):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _models(models: Sequence[Facts], console: Console) -> None:
    scale = scale_of(_interval_of(model) for model in models)
    columns: list[Column[Facts]] = [
        Column("", lambda model: model["label"]),
        Column("model", lambda model: model["model"], narrow=lambda model: shortened(model["model"], NARROW)),
        Column("agent", lambda model: model["agent_type"], 4, right=True),
        Column("score", lambda model: shown(model[SCORE], "{:.3f}"), right=True),
        Column("interval", _ends, 1, right=True),
        Column("ROAS", lambda model: shown(model["roas"], "{:.3f}"), 2, right=True),
        Column("delivery", lambda model: shown(model["delivery"], "{:.1%}"), 2, right=True),
        Column("optimality", lambda model: shown(model["optimality"], "{:.1%}"), 3, right=True),
        Column("", lambda model: drawn(model[SCORE], _interval_of(model), scale), 5),
    ]
    print_table(console, columns, models)


def _pairs(pairs: Sequence[Facts], console: Console) -> None:
    judged = [pair for pair in pairs if SCORE in pair]
    scale = scale_of((_interval(pair[SCORE]) for pair in judged), 0.0)
    columns: list[Column[Facts]] = [
        Column("", lambda pair: f"{pair['a']} - {pair['b']}"),
        Column("score", lambda pair: f"{pair[SCORE]['difference']:+.3f}", right=True),
        Column("interval", lambda pair: f"{pair[SCORE]['low']:+.3f} to {pair[SCORE]['high']:+.3f}", 1, right=True),
        Column("", lambda pair: _picture(pair[SCORE], scale), 5),
        Column("first is better", lambda pair: _chance(pair[SCORE]["probability"]), 2, right=True),
        Column("verdict", lambda pair: pair[SCORE]["verdict"]),
        Column("delivery", lambda pair: _points(pair.get("delivery")), 4, right=True),
        Column("optimality", lambda pair: _points(pair.get("optimality")), 3, right=True),
    ]
    print_table(console, columns, judged)


def _interval_of(model: Facts) -> Interval:
    return Interval(model[f"{SCORE}_low"], model[f"{SCORE}_high"])


def _ends(model: Facts) -> str:
    interval = _interval_of(model)
    return f"{shown(interval.low, '{:.2f}')} to {shown(interval.high, '{:.2f}')}"


def _picture(score: Facts, scale: tuple[float, float]) -> str:
    return drawn(score["difference"], _interval(score), scale, mark=0.0)


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
