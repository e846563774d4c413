"""Whether a sweep's model becomes `best` in W&B, and whether a pipeline goes on: `publish: {gate: ...}`.

The model and the present best fly fresh flights that both have in common and that only this pair of models has. What
follows from the flights is judged() (pure). Start at Gate.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.checkpoint import DESCRIPTION, Model, load_model
from gaelp_ray.errors import GaelpError
from gaelp_ray.evidence.intervals import compare
from gaelp_ray.market import Market
from gaelp_ray.records import FlightTotals
from gaelp_ray.results import Comparison
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.planning.constraints import constraints_of, in_words, violations
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.tracking.promotion import Incumbent, Ruling
from gaelp_ray.training import Stream, evaluate_all
from gaelp_ray.worlds import World, other_channels

GO_ON = "it stays the best: publish under the name of another sweep, or move the alias by hand in W&B"


@dataclass(frozen=True)
class Rules:
    """What decides between two models."""

    eligibility: Eligibility
    confidence: float
    regression: bool  # whether a pipeline ends where the new model is certainly below the present best


@dataclass(frozen=True)
class Gate:
    """The judge of one sweep's winner: `folder` holds its model, `earned` what it showed when it was confirmed."""

    plan: SweepPlan
    folder: Path
    earned: Mapping[str, float | None]

    @property
    def rules(self) -> Rules:
        """Those of the final stage; without a gate in the file nothing ends a pipeline."""
        select, gate = self.plan.spec.select, self.plan.spec.publish.gate
        eligibility = Eligibility(select.min_delivery, constraints_of(select.constraints))
        return Rules(eligibility, select.confidence, gate is not None and gate.regression)

    def alone(self) -> Ruling | None:
        """A refusal where a bound of the gate is broken."""
        gate = self.plan.spec.publish.gate
        metrics = {name: math.nan if value is None else value for name, value in self.earned.items()}
        broken = violations(metrics, constraints_of(gate.constraints)) if gate else []
        return Ruling(False, False, " and ".join(broken)) if broken else None

    def unjudged(self, why: str) -> Ruling | None:
        """Without the present best: what the bounds say; None where the file asks for nothing."""
        gate = self.plan.spec.publish.gate
        if gate is None:
            return None
        kept = f"keeps {in_words(constraints_of(gate.constraints))}; " if gate.constraints else ""
        return self.alone() or Ruling(False, True, f"{kept}not compared with the present best: {why}")

    def against(self, incumbent: Incumbent | None) -> Ruling:
        """Fly both, unless there is nobody, the same model, or one that cannot fly here."""
        if incumbent is None:
            return Ruling(True, True, "no other version is the best")
        if incumbent.folder is None:
            return _incomparable(incumbent.name, incumbent.problem)
        try:
            return self._beside(incumbent.folder, incumbent.name)
        except GaelpError as error:  # a damaged model, or flights of an own environment
            return _incomparable(incumbent.name, str(error))

    def _beside(self, folder: Path, name: str) -> Ruling:
        new, present = load_model(self.folder), load_model(folder)
        ids = sorted((identity(self.folder), identity(folder)))
        if ids[0] == ids[1]:
            return Ruling(False, True, f"{name} is the same model", name)
        if other := _elsewhere(present, self.plan.market):
            return _incomparable(name, other)
        return judged(*self._fly((new, present), ids), self.rules, name)

    def _fly(self, models: tuple[Model, Model], ids: Sequence[str]) -> tuple[FlightTotals, FlightTotals]:
        spec, agents = self.plan.spec, [model.agent for model in models]
        # Another pair has other flights: who is best by luck is not kept by it. The same pair has the same, also later.
        pair = int(hashlib.sha256("".join(ids).encode()).hexdigest()[:15], 16)
        seeds = [spec.seed, Stream.GATE, pair]
        rules = spec.select
        new, present = evaluate_all(agents, self.plan.market, rules.episodes, seeds, rules.confidence)
        return new.totals, present.totals


def identity(folder: Path) -> str:
    """SHA-256 of all that decides how a model acts: weights, configuration, beliefs. Weights alone may be empty."""
    told: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    config = {key: value for key, value in told["config"].items() if key != "market"}  # a path, whose content is hashed
    return hashlib.sha256(
        json.dumps([told["sha256"], told["market_hash"], config], sort_keys=True).encode()
    ).hexdigest()


def judged(new: FlightTotals, present: FlightTotals, rules: Rules, name: str) -> Ruling:
    """What common flights of the new model and of the present best, called `name`, say of them.

    The alias moves only to a model that is above. Neither moves it nor keeps it who does not deliver or breaks a
    constraint of the final stage there, as long as the other one may have it.
    """
    eligibility, on = rules.eligibility, f"on {len(new):,} common flights"
    if not (new.budget == present.budget).all():
        return _incomparable(name, "its flights had other budgets: no action may change a flight's budget")
    metrics = [flights.pooled() for flights in (new, present)]
    mine, theirs = (eligibility.fault(one) for one in metrics)
    found = compare(new, present, rules.confidence)
    if theirs and not mine:
        return Ruling(True, True, f"{name} may not stay the best: {on}, {theirs}", name, found)
    below = found.verdict == "below" and not theirs
    passed = not (rules.regression and below)
    if mine:
        either = f", as little as {name}" if theirs else ""
        return Ruling(False, passed, f"it may not be the best{either}: {on}, {mine}", name, found)
    return Ruling(found.verdict == "above", passed, f"{_in_words(found, name)} {on}", name, found)


def _in_words(found: Comparison, name: str) -> str:
    relation = f"a tie with {name}" if found.verdict == "tie" else f"{found.verdict} {name}"
    return f"{relation} ({found.difference:+.3f} [{found.interval.low:+.3f}, {found.interval.high:+.3f}])"


def _incomparable(name: str, why: str) -> Ruling:
    return Ruling(False, True, f"{name} cannot be compared ({why}); {GO_ON}", name)


def _elsewhere(model: Model, world: World) -> str:
    """Why a model cannot fly in the sweep's market; empty where it can. It keeps the beliefs that it has."""
    if isinstance(model.market, Market) and isinstance(world, Market):
        others = other_channels(model.market, world)
        return f"it bids {others}" if others else ""
    return "" if model.market.name == world.name else f"it flies in {model.market.name!r}, the sweep in {world.name!r}"
