"""`gaelp-ray compare`: models against each other on the same fresh flights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Annotated, Any

import typer

from gaelp_ray.checkpoint import Model, load_model
from gaelp_ray.cli.comparison import show_comparison
from gaelp_ray.cli.options import RESULTS, AsJson, Storage
from gaelp_ray.cli.reporting import Entity, Project, RunName, Wandb, destination
from gaelp_ray.cli.screen import err, out, print_json
from gaelp_ray.errors import InputError, ModelError
from gaelp_ray.evidence.contest import Duel, duels
from gaelp_ray.records import SCORE, Evaluation
from gaelp_ray.retrieval import find_model
from gaelp_ray.training import Stream, evaluate_all
from gaelp_ray.worlds import World, market_named

METRICS = (SCORE, "roas", "delivery", "optimality")
SURE = ("above", "below")

Names = Annotated[
    list[str],
    typer.Argument(metavar="A B [C ...]", help="Folders of models, or sweeps: their best.", show_default=False),
]


def compare_models(
    models: Names,
    *,
    market: Annotated[str | None, typer.Option(help="Where all of them fly; default: the market of all.")] = None,
    episodes: Annotated[int, typer.Option(min=32, help="Fresh flights, the same ones for every model.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Which fresh flights.")] = 0,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="That of all pairs together.")] = 0.95,
    wandb: Wandb = False,
    project: Project = None,
    entity: Entity = None,
    name: RunName = None,
    storage: Storage = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Fly models on the same fresh flights: paired differences with intervals, and who is better than whom.

    The return on the whole budget decides, so that no model gains by spending less: expected revenue / budget, or
    realised revenue in an environment that does not report the expected one.
    """
    opened = _opened(models, storage)
    place, world = _common(dict(zip(models, opened.values(), strict=True)), market)
    agents = [model.agent for model in opened.values()]
    with err.status(f"{episodes} flights of each of {len(agents)} models"):
        evaluated = evaluate_all(agents, world, episodes, [seed, Stream.EVALUATION], confidence)
    flown = dict(zip(opened, evaluated, strict=True))
    facts: dict[str, Any] = {"market": place, "episodes": episodes, "seed": seed, "confidence": confidence}
    facts |= {"models": _models(models, opened, flown), "pairs": _pairs(flown, confidence)}
    facts["best"] = _best(facts["pairs"], list(flown))
    if as_json:
        print_json(facts)
    else:
        show_comparison(facts, out)
    if wandb:
        from gaelp_ray.tracking.compared import log_comparison

        where = log_comparison(destination(project, entity, name or " vs ".join(models)), facts)
        err.print(where, markup=False, highlight=False, soft_wrap=True)


def _opened(named: Sequence[str], storage: str) -> dict[str, Model]:
    """The models by the letters under which they are shown."""
    if len(named) < 2:
        raise InputError("compare needs two models or more: gaelp-ray compare A B")
    if len(set(named)) < len(named):
        raise InputError(f"{next(n for n in named if named.count(n) > 1)} is given twice: compare different models")
    if len(named) > len(ascii_uppercase):
        raise InputError(f"compare takes {len(ascii_uppercase)} models at most, not {len(named)}")
    return {
        label: load_model(find_model(name, storage).folder) for label, name in zip(ascii_uppercase, named, strict=False)
    }


def _common(models: Mapping[str, Model], market: str | None) -> tuple[str, World]:
    """(name, market) where all of them can fly. Raises MarketError, ModelError."""
    if market is not None:
        named = market_named(market)
        for name, model in models.items():
            try:
                model.require_market(named)
            except ModelError as error:
                raise ModelError(f"{name}: {error}") from None
        return market, named
    worlds = {model.market.hash: model.market for model in models.values()}
    if len(worlds) > 1:
        told = ", ".join(f"{name}: {model.market.name} {model.market.hash[:6]}" for name, model in models.items())
        raise ModelError(f"the models were trained in different markets ({told}): name one for all with --market")
    (world,) = worlds.values()
    return world.name, world


def _models(named: Sequence[str], opened: Mapping[str, Model], flown: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    return [
        {"label": label, "model": name, "agent_type": model.config.agent_type, **flown[label].as_dict()}
        for name, (label, model) in zip(named, opened.items(), strict=True)
    ]


def _pairs(flown: Mapping[str, Evaluation], confidence: float) -> list[dict[str, Any]]:
    """Every pair with the differences of all metrics that were measured."""
    totals = {label: found.totals for label, found in flown.items()}
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    for metric in METRICS:
        for duel in duels(totals, metric, confidence):
            pair = pairs.setdefault((duel.a, duel.b), {"a": duel.a, "b": duel.b})
            pair[metric] = _facts(duel)
    return list(pairs.values())


def _facts(duel: Duel) -> dict[str, Any]:
    found = duel.found
    return {
        "difference": found.difference,
        "low": found.interval.low,
        "high": found.interval.high,
        "probability": duel.probability,
        "verdict": found.verdict,
    }


def _best(pairs: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str | None:
    """The model above all others; None without one."""
    verdicts = {(pair["a"], pair["b"]): pair[SCORE]["verdict"] for pair in pairs if SCORE in pair}
    above = {pair if verdict == "above" else pair[::-1] for pair, verdict in verdicts.items() if verdict in SURE}
    winners = (one for one in labels if all((one, other) in above for other in labels if other != one))
    return next(winners, None)
