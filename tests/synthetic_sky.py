"""A final stage's flights, of arms whose truth is known: without Ray, and without a simulator."""

from __future__ import annotations

from dataclasses import dataclass, field

from synthetic_arms import Field, Truth

from gaelp_ray.records import SCORE, FlightTotals
from gaelp_ray.results import TrialResult, TrialStatus
from gaelp_ray.sweep.listener import Silence
from gaelp_ray.sweep.outcome.final import REFERENCE
from gaelp_ray.sweep.outcome.reflight import Arm
from gaelp_ray.training import Stream


@dataclass
class Sky:
    """Flights of arms whose truth is known. truths: by label, or by (label, stream, ...) as far as the seeds agree."""

    truths: dict[object, Truth]
    lost: set[object] = field(default_factory=set)  # (label, stream)
    flown: list[tuple[int, tuple[str, ...], int]] = field(default_factory=list)  # stream, arms, flights of each
    seeds: list[tuple[int, ...]] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)  # label -> its checkpoint
    noise: list[set[float]] = field(default_factory=list)  # of days, in the other markets as they were flown

    def load(self, label, folder, market):
        self.models[label] = str(folder)
        return Arm(label, {})

    def truth(self, label: str, seeds: tuple[int, ...]) -> Truth:
        ends = ((label, *seeds[:length]) for length in range(len(seeds), 0, -1))
        return next((self.truths[end] for end in ends if end in self.truths), self.truths.get(label, Truth(5.0)))

    def flights(self, label: str, seeds, parts) -> FlightTotals:
        arms = dict.fromkeys(("a", "b", "default", REFERENCE, label))  # each has a luck of its own
        number = int(sum(seed * 100**place for place, seed in enumerate(seeds)))
        known = Field({arm: self.truth(arm, tuple(seeds[1:])) for arm in arms}, number)
        return FlightTotals.concatenate([known.fly([label], batch, count)[label] for batch, count in parts])

    def fly(self, arms, parts, seeds, tell):
        labels, stream = [arm.label for arm in arms], seeds[1]
        self.flown.append((int(stream), tuple(labels), sum(count for _, count in parts)))
        self.seeds.append(tuple(int(seed) for seed in seeds[1:]))
        if stream == Stream.MARKETS:
            self.noise.append({arm.market["departures"]["day_log_sd"]["value"] for arm in arms})
        episodes = len(labels) * sum(count for _, count in parts)
        tell(episodes, episodes)
        lost = {label: "ValueError: no" for label in labels if (label, stream) in self.lost}
        return {label: self.flights(label, seeds, parts) for label in labels if label not in lost}, lost


class Ear(Silence):
    def __init__(self):
        self.heard, self.noted = [], []

    def stage(self, text, done, total, unit=""):
        self.heard.append((text, done, total))

    def note(self, text):
        self.noted.append(text)


def trial(name: str, score: float = 5.0, **fields) -> TrialResult:
    known = {"params": {}, "config": {"name": name}, "metrics": {SCORE: score}, "env_steps": 1000}
    return TrialResult(name, **({"status": TrialStatus.COMPLETED, "checkpoint": f"models/{name}"} | known | fields))


A, B, DEFAULT = trial("a", 6.0), trial("b", 5.5), trial("default", is_default=True)
TRIALS = [A, B, trial("c", 1.0), DEFAULT]


def by_label(selection):
    return {candidate.label: candidate for candidate in selection.ranking}
