"""The final stage: the best trials race on fresh flights, and who is chosen flies others that had no part in it.

Every number that is told about the winner is of the latter: of the best of several on the same flights, a part is luck.
Start at final_stage().
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from gaelp_ray.evidence.intervals import summarise
from gaelp_ray.market import Market
from gaelp_ray.records import Evaluation, FlightTotals
from gaelp_ray.results import Candidate, PlayOff, Raced, RaceFacts, Selection, TrialResult, TrialStatus
from gaelp_ray.sweep.listener import EPISODES, SweepListener
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.elsewhere import in_other_markets
from gaelp_ray.sweep.outcome.playoff import play_off
from gaelp_ray.sweep.outcome.race import Race, Rules, Verdict, decide, race
from gaelp_ray.sweep.outcome.reflight import Arm, fly_arms
from gaelp_ray.sweep.outcome.selection import finalists, next_finalists, no_winner, select
from gaelp_ray.sweep.outcome.weights import Weights, choose_weights
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.training import EVALUATION_BATCH, Stream, batches

REFERENCE = "BayesDual (reference)"


Restore = Callable[[Sequence[TrialResult]], Sequence[TrialResult]]
"""Trials that are to race -> the same trials, each with its weights on disk."""


def final_stage(
    plan: SweepPlan, trials: list[TrialResult], listener: SweepListener, restore: Restore = list
) -> tuple[Selection, list[TrialResult]]:
    """Race the best trials and the control arm, confirm the selected one, and decide.

    Where none of the best top_k trials is eligible, the next ones race. Also returns the trials; those that could not
    be evaluated have the status `failed`.
    """
    stage = _Stage(plan, listener, eligibility_of(plan))
    waiting, rules = list(trials), (plan.spec.metric.name, plan.goal, plan.spec.select.top_k, stage.eligibility)
    chosen, selection = finalists(waiting, *rules), None
    while chosen:
        selection = stage.decide(restore(chosen))
        waiting = [trial for trial in waiting if trial not in chosen]
        control = [trial for trial in chosen if trial.is_default and trial.trial not in selection.ineligible]
        following = [] if stage.has_eligible_trial(selection) else next_finalists(waiting, *rules)
        chosen = [*following, *control] if following else []
    after = [_failed(trial, stage.failed) for trial in trials]
    if selection is None or not any(c.role != "reference" for c in selection.ranking):
        return no_winner(after, plan.spec.metric.name), after
    return in_other_markets(selection, stage.arms, plan, listener), after


def eligibility_of(plan: SweepPlan) -> Eligibility:
    """What the sweep file asks of a winner."""
    rules = plan.spec.select
    return Eligibility(rules.min_delivery, constraints_of(rules.constraints))


def _failed(trial: TrialResult, failed: Mapping[str, str]) -> TrialResult:
    if trial.trial not in failed:
        return trial
    return replace(trial, status=TrialStatus.FAILED, error=f"in the final stage, {failed[trial.trial]}")


@dataclass
class _Stage:
    """What is known so far, by arm. Every step flies a stream of its own."""

    plan: SweepPlan
    listener: SweepListener
    eligibility: Eligibility
    arms: dict[str, Arm] = field(default_factory=dict)
    weights: dict[str, Weights] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    confirmed: dict[str, FlightTotals] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)  # of arms that fresh flights showed to be ineligible
    played: PlayOff | None = None
    attempts: int = 0
    raced: dict[str, tuple[TrialResult, Race]] = field(default_factory=dict)  # the last race of every trial
    races: list[Race] = field(default_factory=list)

    def decide(self, chosen: Sequence[TrialResult]) -> Selection:
        """The outcome of one race of these trials, after those of earlier ones."""
        racing = self.choose(chosen)
        self.races.append(self.race(racing))
        self.raced |= {trial.trial: (trial, self.races[-1]) for trial in racing}
        verdict = self.confirm(self.races[-1], racing)
        rules = self.plan.spec.select
        selection = select(self.candidates(), verdict, self.eligibility, rules.confidence, self.faults)
        return replace(selection, race=self.facts(), play_off=self.played)

    def has_eligible_trial(self, selection: Selection) -> bool:
        """Whether one of the trials that raced, the control arm aside, is eligible."""
        return any(arm.role == "candidate" and arm.label not in selection.ineligible for arm in selection.ranking)

    def choose(self, chosen: Sequence[TrialResult]) -> list[TrialResult]:
        """The trials that race, each with its best model; all arms are made."""
        racing, weights, lost = choose_weights(chosen, self.eligibility.of_any_flights, self._fly_weights)
        self.weights |= weights
        self.failed |= lost
        market = self.plan.market
        self.arms |= {t.trial: Arm.from_checkpoint(t.trial, Path(t.checkpoint or ""), market) for t in racing}
        if isinstance(market, Market):  # nobody knows how to bid in an environment of the user's own
            self.arms[REFERENCE] = Arm.reference(REFERENCE, market)
        return racing

    def _fly_weights(self, models: Mapping[str, Path]) -> tuple[dict[str, FlightTotals], dict[str, str]]:
        arms = [Arm.from_checkpoint(label, path, self.plan.market) for label, path in models.items()]
        tell = partial(self.listener.stage, "choosing among the kept models", unit=EPISODES)
        return fly_arms(arms, [(0, EVALUATION_BATCH)], [self.plan.spec.seed, Stream.WEIGHTS], tell)

    def race(self, racing: Sequence[TrialResult]) -> Race:
        """Flights go where it is open who is best."""
        rules, labels = self.plan.spec.select, [trial.trial for trial in racing]
        budget = rules.episodes * len(labels) if rules.budget is None else rules.budget
        spent = 0

        def fly(left: Sequence[str], number: int, flights: int) -> Mapping[str, FlightTotals]:
            nonlocal spent
            seeds = [self.plan.spec.seed, Stream.SELECTION]
            flown, lost = fly_arms([self.arms[arm] for arm in left], [(number, flights)], seeds, tell)
            self.failed |= lost
            spent += flights * len(left)
            return flown

        def tell(done: int, _: int) -> None:
            self.listener.stage("racing the best", spent + done, budget, EPISODES)

        run = race(labels, Rules(rules.confidence, budget, self.eligibility.of_any_flights), fly)
        self.listener.stage("racing the best", spent, spent, EPISODES)
        return run

    def confirm(self, run: Race, racing: Sequence[TrialResult]) -> Verdict:
        """Fly who is chosen, the control arm and the reference line on flights that had no part in choosing.

        Where these show that the arm may not win, the race is judged again without it, and other flights are flown.
        """
        control = next((trial.trial for trial in racing if trial.is_default), None)
        steps = {trial.trial: trial.env_steps for trial in racing}
        while True:
            verdict = decide(run, control, steps, self.faults.keys() | self.failed.keys())
            verdict, self.played = play_off(run, verdict, control, self._fly_pair)
            if verdict.kept is None:
                return verdict
            lines = [label for label, (trial, _) in self.raced.items() if trial.is_default]
            labels = dict.fromkeys((verdict.kept, *lines, REFERENCE))
            self._fly_confirmation([label for label in labels if label in self.arms and label not in self.failed])
            if verdict.kept in self.failed:
                continue
            fault = self.eligibility.fault(self.confirmed[verdict.kept].pooled())
            if not fault:
                return verdict
            self.faults[verdict.kept] = f"when confirmed, {fault}"

    def _fly_pair(self, pair: Sequence[str]) -> Mapping[str, FlightTotals]:
        return self._fly(pair, Stream.PLAYOFF, "playing off the tie")

    def _fly_confirmation(self, labels: Sequence[str]) -> None:
        self.confirmed |= self._fly(labels, Stream.CONFIRMATION, "confirming the choice")
        self.attempts += 1

    def _fly(self, labels: Sequence[str], stream: Stream, stage: str) -> Mapping[str, FlightTotals]:
        """The sweep's number of flights; others at each attempt."""
        spec = self.plan.spec
        arms, tell = [self.arms[label] for label in labels], partial(self.listener.stage, stage, unit=EPISODES)
        flown, lost = fly_arms(arms, batches(spec.select.episodes), [spec.seed, stream, self.attempts], tell)
        self.failed |= lost
        return flown

    def candidates(self) -> list[Candidate]:
        """Every arm that could be flown."""
        arms = [self._candidate(run, trial) for trial, run in self.raced.values() if trial.trial not in self.failed]
        if REFERENCE in self.confirmed:
            arms.append(Candidate(REFERENCE, "reference", self._evaluation(self.confirmed[REFERENCE]), confirmed=True))
        return arms

    def _candidate(self, run: Race, trial: TrialResult) -> Candidate:
        label, drop = trial.trial, run.drops.get(trial.trial)
        raced = Raced(len(run.flown[label]), run.score(label), *((drop.round, drop.by) if drop else ()))
        return Candidate(
            label,
            "default" if trial.is_default else "candidate",
            self._evaluation(self.confirmed.get(label, run.flown[label])),
            trial,
            raced,
            label in self.confirmed,
            self.weights[label].about,
        )

    def _evaluation(self, flights: FlightTotals) -> Evaluation:
        return summarise(flights, self.plan.spec.select.confidence)

    def facts(self) -> RaceFacts:
        """What all races together took."""
        arms = {arm for run in self.races for arm in run.flown}
        rounds, flights = (sum(getattr(run, name) for run in self.races) for name in ("rounds", "flights"))
        budget, error = sum(run.rules.budget for run in self.races), 1.0 - self.plan.spec.select.confidence
        return RaceFacts(len(arms), rounds, flights, budget, error, max(self.attempts, 1))
