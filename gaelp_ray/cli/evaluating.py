"""`gaelp-ray evaluate`: a model on fresh flights, in its own market and in others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from gaelp_ray.checkpoint import Model, load_model
from gaelp_ray.cli import tables
from gaelp_ray.cli.bounds import FailAbove, FailUnder, read_bounds
from gaelp_ray.cli.columns import NARROW, Column, print_table, shortened
from gaelp_ray.cli.drawing import drawn, scale_of
from gaelp_ray.cli.options import RESULTS, AsJson, ModelName, Storage
from gaelp_ray.cli.screen import err, out, print_json
from gaelp_ray.errors import GaelpError, InputError
from gaelp_ray.evidence.ratios import intervals
from gaelp_ray.records import Evaluation, shown
from gaelp_ray.retrieval import find_model
from gaelp_ray.sweep.planning.constraints import Constraint
from gaelp_ray.training import Stream, evaluate
from gaelp_ray.worlds import World, market_named

Markets = Annotated[
    list[str] | None,
    typer.Option(
        "--market",
        metavar="MARKET",
        help="Another market than the model's own, with the same channels: a name or a file, as it is or changed "
        "(airfrance-search@nominal, my.yaml@heterogeneity=1.0,first_price). May be repeated.",
    ),
]


@dataclass(frozen=True)
class Flown:
    """What a model did in one market; `label` is the market as it was named."""

    label: str
    market: World
    evaluation: Evaluation

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with an interval of every ratio that has one; that of ROAS is resampled."""
        evaluation = self.evaluation
        ends = {name: [end.low, end.high] for name, end in intervals(evaluation.totals, evaluation.confidence).items()}
        ends["roas"] = [evaluation.roas_interval.low, evaluation.roas_interval.high]
        return {"market": self.label, **evaluation.as_dict(), "intervals": ends}


def evaluate_model(
    model: ModelName,
    *,
    market: Markets = None,
    episodes: Annotated[int, typer.Option(min=16, help="Fresh flights in each market.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Which fresh flights.")] = 0,
    fail_under: FailUnder = None,
    fail_above: FailAbove = None,
    storage: Storage = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Fly a model on fresh flights, never used in any sweep: pooled metrics with intervals, in one market or several.

    In another market than its own the model keeps the beliefs that it was trained with.
    """
    bounds = read_bounds(fail_under or (), fail_above or ())
    loaded = load_model(find_model(model, storage).folder)
    flown = []
    for label, world in worlds_of(loaded, market or ()):
        with err.status(Text(f"{episodes} flights through {label}")):
            found = evaluate(loaded.agent, world, episodes, [seed, Stream.EVALUATION])
        flown.append(Flown(label, world, found))
    if as_json:
        print_json({"model": model, "seed": seed, **_facts(flown)})
    else:
        _show(flown)
    broken = [f"{one.label}: {told}" for one in flown for told in _broken(one, bounds)]
    if broken:
        raise GaelpError("\n".join(broken))


def worlds_of(model: Model, named: Sequence[str]) -> list[tuple[str, World]]:
    """(label, market) of every market that was asked for, or the model's own. Raises MarketError, ModelError."""
    if not named:
        return [(model.market.name, model.market)]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise InputError(f"--market {twice} is given twice")
    markets = [(name, market_named(name)) for name in named]
    for _, market in markets:
        model.require_market(market)
    return list(markets)


def _broken(flown: Flown, bounds: Sequence[Constraint]) -> list[str]:
    metrics = flown.evaluation.metrics.as_dict()
    return [told for bound in bounds if (told := bound.violation(metrics))]


def _facts(flown: Sequence[Flown]) -> dict[str, Any]:
    """Of one market flat, of several a list and the worst of them."""
    if len(flown) == 1:
        return flown[0].as_dict()
    return {"markets": [one.as_dict() for one in flown], "worst": worst(flown).label}


def worst(flown: Sequence[Flown]) -> Flown:
    """Where the model is farthest from what could be had: the level of ROAS is the market's, optimality the model's."""
    return min(flown, key=lambda one: one.evaluation.metrics.optimality)


def _show(flown: Sequence[Flown]) -> None:
    if len(flown) == 1:
        tables.evaluation_table(flown[0].evaluation, flown[0].market, out)
        return
    _matrix(flown)
    found = worst(flown)
    least = min(one.evaluation.metrics.delivery for one in flown)
    out.print(
        f"worst: {found.label}, optimality {shown(found.evaluation.metrics.optimality, '{:.1%}')}; every market "
        f"delivers {shown(least, '{:.1%}')} or more",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _matrix(flown: Sequence[Flown]) -> None:
    """Metrics by market; narrow terminals lose some columns."""
    scale = scale_of(one.evaluation.roas_interval for one in flown)
    columns: list[Column[Flown]] = [
        Column("market", lambda one: one.label, narrow=lambda one: shortened(one.label, NARROW)),
        Column("ROAS", _metric("roas", "{:.3f}"), right=True),
        Column(f"{flown[0].evaluation.confidence:.0%} interval", _roas_interval, 1, right=True),
        Column("delivery", _metric("delivery", "{:.1%}"), 2, right=True),
        Column("optimality", _metric("optimality", "{:.1%}"), 3, right=True),
        Column("interval", _optimality_interval, 4, right=True),
        Column("", lambda one: drawn(one.evaluation.metrics.roas, one.evaluation.roas_interval, scale), 8),
        Column("CTR", _metric("ctr", "{:.2%}"), 7, right=True),
        Column("CPC", _metric("cpc", "{:.2f}"), 6, right=True),
        Column("CPA", _metric("cpa", "{:.2f}"), 5, right=True),
    ]
    out.print(f"{flown[0].evaluation.metrics.flights} fresh flights in each market")
    print_table(out, columns, flown)


def _metric(name: str, form: str) -> Callable[[Flown], str]:
    return lambda one: shown(getattr(one.evaluation.metrics, name), form)


def _roas_interval(one: Flown) -> str:
    roas = one.evaluation.roas_interval
    return f"{roas.low:.2f} to {roas.high:.2f}"


def _optimality_interval(one: Flown) -> str:
    found = intervals(one.evaluation.totals, one.evaluation.confidence).get("optimality")
    return f"{found.low:.1%} to {found.high:.1%}" if found else ""
