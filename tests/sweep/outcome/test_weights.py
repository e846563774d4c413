"""Of each finalist's kept models the best one races, by flights that have no other purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_arms import Field, Truth

from gaelp_ray.errors import StorageError
from gaelp_ray.results import SeedResult, TrialResult, TrialStatus
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.weights import choose_weights, kept_weights
from gaelp_ray.sweep.planning.constraints import constraints_of

DELIVER = Eligibility(0.9)


@pytest.fixture
def trial(tmp_path):
    """Makes a trial with models on the disk; the first seed is its best in validation, or the one that is named."""

    def make(name: str, seeds: int = 1, best: tuple[int, ...] = (), first: int = 0) -> TrialResult:
        root = tmp_path / name / "checkpoint"
        for number in range(seeds):
            (root / f"seed-{number}").mkdir(parents=True)
        for number in best:
            (root / "best" / f"seed-{number}").mkdir(parents=True)
        results = tuple(SeedResult(10 + number, {}, str(root / f"seed-{number}")) for number in range(seeds))
        checkpoint = str(root / f"seed-{first}")
        return TrialResult(name, TrialStatus.COMPLETED, {}, {}, checkpoint=checkpoint, seeds=results)

    return make


def short(path) -> str:
    """Below the checkpoints' folder."""
    return str(path).partition("/checkpoint/")[2]


def flier(truths, lost=()):
    """Flies models whose truths are known, by trial and place; and what it was asked for."""
    asked = []

    def named(path):
        return f"{path.parts[path.parts.index('checkpoint') - 1]}/{short(path)}"

    def fly(models):
        asked.append([named(path) for path in models.values()])
        known = {label: truths[named(path)] for label, path in models.items() if named(path) not in lost}
        reasons = {label: f"ValueError: {named(path)}" for label, path in models.items() if named(path) in lost}
        return Field(known, 3).fly(list(known), 0, 256), reasons

    return fly, asked


def test_last_and_best_of_every_seed_are_kept_and_the_best_seed_in_validation_comes_first(trial):
    kept = kept_weights(trial("a", seeds=3, best=(0, 2), first=1))
    assert [short(weights.path) for weights in kept] == ["seed-1", "seed-0", "best/seed-0", "seed-2", "best/seed-2"]
    assert [weights.about for weights in kept] == [
        {"seed": 11, "kept": "last"},
        {"seed": 10, "kept": "last"},
        {"seed": 10, "kept": "best"},
        {"seed": 12, "kept": "last"},
        {"seed": 12, "kept": "best"},
    ]


def test_a_seed_without_a_model_is_none(trial):
    a = trial("a")
    without = TrialResult(**{**vars(a), "seeds": (*a.seeds, SeedResult(11, {}, None))})
    assert [short(weights.path) for weights in kept_weights(without)] == ["seed-0"]


def test_without_any_model_there_is_no_race(trial):
    with pytest.raises(StorageError, match=r"is to be re-flown, and has left no model: see `gaelp-ray show`"):
        kept_weights(replace(trial("a"), checkpoint=None, seeds=()))


def test_only_trials_with_a_choice_fly(trial):
    fly, asked = flier({})
    trials = [trial("a"), trial("b")]
    racing, chosen, failed = choose_weights(trials, DELIVER, fly)
    assert (asked, failed) == ([], {})
    assert racing == trials and chosen["a"].about == {"seed": 10, "kept": "last"}
    fly, asked = flier({"c/seed-0": Truth(5.0), "c/best/seed-0": Truth(4.0)})
    choose_weights([*trials, trial("c", best=(0,))], DELIVER, fly)
    assert asked == [["c/seed-0", "c/best/seed-0"]]


def test_the_best_eligible_roas_goes_on_as_that_trials_checkpoint(trial):
    truths = {"a/seed-0": Truth(5.0), "a/best/seed-0": Truth(6.0), "b/seed-0": Truth(6.0), "b/best/seed-0": Truth(5.0)}
    fly, _ = flier(truths)
    racing, chosen, _ = choose_weights([trial("a", best=(0,)), trial("b", best=(0,))], DELIVER, fly)
    assert [(t.trial, short(t.checkpoint)) for t in racing] == [("a", "best/seed-0"), ("b", "seed-0")]
    assert [short(weights.path) for weights in chosen.values()] == ["best/seed-0", "seed-0"]


def test_a_model_that_does_not_deliver_is_not_preferred_for_its_roas(trial):
    fly, _ = flier({"a/seed-0": Truth(5.0), "a/best/seed-0": Truth(50.0, delivery=0.1)})
    assert choose_weights([trial("a", best=(0,))], DELIVER, fly)[1]["a"].about["kept"] == "last"


def test_nor_one_that_breaks_a_constraint(trial):
    fly, _ = flier({"a/seed-0": Truth(5.0), "a/best/seed-0": Truth(50.0)})
    bounded = Eligibility(0.9, constraints_of({"max_roas": 10.0}))
    assert choose_weights([trial("a", best=(0,))], bounded, fly)[1]["a"].about["kept"] == "last"


@pytest.mark.parametrize(("misers", "kept"), [(40.0, "last"), (90.0, "best")])
def test_of_models_that_do_not_deliver_the_one_that_earns_more_of_the_budget_goes_on(trial, misers, kept):
    # Of the required 90 % of the budget, 50 % at a ROAS of 5 earn as much as 5 % at one of 50.
    fly, _ = flier({"a/seed-0": Truth(5.0, delivery=0.5), "a/best/seed-0": Truth(misers, delivery=0.05)})
    assert choose_weights([trial("a", best=(0,))], DELIVER, fly)[1]["a"].about["kept"] == kept


def test_of_equal_ones_that_of_the_best_seed_in_validation(trial):
    same = {f"a/{place}": Truth(5.0, own=0.0, delivery_sd=0.0) for place in ("seed-0", "seed-1", "best/seed-1")}
    fly, _ = flier(same)
    assert choose_weights([trial("a", seeds=2, best=(1,), first=1)], DELIVER, fly)[1]["a"].about == {
        "seed": 11,
        "kept": "last",
    }


def test_what_cannot_be_flown_is_out_and_a_trial_without_any_other_has_failed(trial):
    truths = {"a/seed-0": Truth(5.0), "a/best/seed-0": Truth(6.0)}
    fly, _ = flier(truths, lost={"a/best/seed-0", "b/seed-0", "b/best/seed-0"})
    racing, chosen, failed = choose_weights([trial("a", best=(0,)), trial("b", best=(0,))], DELIVER, fly)
    assert [t.trial for t in racing] == list(chosen) == ["a"]
    assert chosen["a"].about["kept"] == "last"
    assert failed == {"b": "ValueError: b/seed-0"}
