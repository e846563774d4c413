"""What is proposed next, without Tune: the planned list, races of seeds, and Bayes."""

from __future__ import annotations

import math

import pytest

from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.search.strategies import Planned, SeedRace, score_of, strategy_for

GRID = """\
name: trip
method: grid
metric: {name: delivered_roas, goal: maximize}
parameters: {dual.shade: {values: [0.0, 0.1, 0.2, 0.3]}}
trial: {agent_type: BayesDual}
"""
BAYES = """\
name: trip
method: bayes
run_cap: 40
metric: {name: delivered_roas, goal: maximize}
parameters:
  agent_type: {values: [constant, BayesDual]}
  dual.shade: {min: -1.0, max: 1.0}
  constant.bid_multiplier: {distribution: log_uniform_values, min: 0.1, max: 10.0}
  batch_size: {value: 16}
"""


def scored(value, **metrics):
    """A last report as Tune flattens it."""
    return {"final_score": value} | {f"validation/{name}": x for name, x in metrics.items()}


def run_one_by_one(strategy, judge):
    """Every proposal, heard before the next is asked for."""
    proposed = []
    while (trial := strategy.propose()) is not None:
        proposed.append(trial)
        strategy.hear(trial, judge(trial))
    assert strategy.finished
    return proposed


def test_planned_trials_come_in_their_order_whoever_ends_first(plan):
    trials = plan(GRID).trials
    strategy = Planned(trials)
    first, second = strategy.propose(), strategy.propose()
    strategy.hear(second, None)
    rest = [strategy.propose() for _ in trials[2:]]
    assert [first, second, *rest] == list(trials)
    assert strategy.finished and strategy.propose() is None


def test_seeds_are_the_same_for_every_configuration_and_the_first_is_the_sweeps_own(plan):
    planned = plan(GRID + "seeds: 3\nseed: 7\n")
    assert {trial.seeds for trial in planned.trials} == {planned.seeds}
    assert planned.seeds[0] == 7 and len(set(planned.seeds)) == 3
    assert all(0 <= seed < 2**63 for seed in planned.seeds)
    assert plan(GRID + "seeds: 2\nseed: 7\n").seeds == planned.seeds[:2]
    assert isinstance(strategy_for(planned, ()), Planned)


def test_a_race_gives_another_seed_to_the_better_half_and_to_the_control_arm(plan):
    planned = plan(GRID + "seeds: {min: 1, max: 4}\n")
    worth = {"trip-00": 1.0, "trip-01": 4.0, "trip-02": 3.0, "trip-03": 2.0, "trip-default": 0.0}
    race = strategy_for(planned, ())
    proposed = run_one_by_one(race, lambda trial: scored(worth[trial.name.rpartition("-s")[0] or trial.name]))
    names = [trial.name for trial in proposed]
    assert names[:5] == ["trip-default", "trip-00", "trip-01", "trip-02", "trip-03"]
    assert names[5:8] == ["trip-default-s1", "trip-01-s1", "trip-02-s1"]
    assert names[8:10] == ["trip-default-s2", "trip-01-s2"]
    assert names[10:] == ["trip-default-s3", "trip-01-s3"]
    assert [trial.seeds for trial in proposed[5:]] == [(planned.seeds[k],) for k in (1, 1, 1, 2, 2, 3, 3)]
    assert proposed[6].config_id == proposed[2].config_id != proposed[7].config_id


def test_a_race_judges_by_the_mean_of_all_seeds(plan):
    # The winner of the first seed is the worst of the second: its mean falls behind.
    scores = {"trip-00": 3.0, "trip-01": 2.5, "trip-02": 1.0, "trip-03": 0.0}
    later = {"trip-00-s1": 0.0, "trip-01-s1": 2.5}
    text = GRID + "seeds: {min: 1, max: 3}\nselect: {include_default: false}\n"
    race = strategy_for(plan(text), ())
    names = [t.name for t in run_one_by_one(race, lambda t: scored((scores | later).get(t.name, 9.0)))]
    assert names[4:] == ["trip-00-s1", "trip-01-s1", "trip-01-s2"]


def test_a_race_to_minimise_keeps_the_lowest(plan):
    text = GRID.replace("delivered_roas, goal: maximize", "cpa, goal: minimize") + "seeds: {min: 1, max: 2}\n"
    race = strategy_for(plan(text + "select: {include_default: false}\n"), ())
    names = [t.name for t in run_one_by_one(race, lambda t: scored(float(t.params["dual.shade"])))]
    assert names[4:] == ["trip-00-s1", "trip-01-s1"]


def test_a_round_waits_for_all_of_its_seeds_and_leaves_out_who_has_no_score(plan):
    text = GRID + "seeds: {min: 1, max: 2}\nselect: {include_default: false}\n"
    race = strategy_for(plan(text), ())
    first = [race.propose() for _ in range(4)]
    for trial, result in zip(first[:3], [scored(1.0), None, {"score": 9.0}], strict=True):
        race.hear(trial, result)
        assert race.propose() is None and not race.finished
    race.hear(first[3], scored(math.nan))
    assert race.propose().name == "trip-00-s1"
    assert race.propose() is None and race.finished


def test_a_race_in_which_everybody_failed_ends(plan):
    race = strategy_for(plan(GRID + "seeds: {min: 1, max: 3}\n"), ())
    assert isinstance(race, SeedRace)
    assert len(run_one_by_one(race, lambda trial: None)) == 5


def test_bayes_finds_what_is_better_and_proposes_what_is_read(plan):
    planned = plan(BAYES)

    def judge(trial):
        return scored(-((trial.params.get("dual.shade", 2.0) - 0.4) ** 2))

    proposed = run_one_by_one(strategy_for(planned, ()), judge)
    assert [trial.name for trial in proposed] == [trial.name for trial in planned.trials]
    assert proposed[0].is_default and proposed[0].params == {}
    for trial in proposed[1:]:
        other = "constant.bid_multiplier" if trial.params["agent_type"] == "BayesDual" else "dual.shade"
        assert other not in trial.params
        assert trial.config == planned.trials[0].config.replace(trial.params)
    assert len({trial.config_id for trial in proposed}) == 41
    late = [trial for trial in proposed[21:] if "dual.shade" in trial.params]
    assert len(late) > 12
    assert sum(abs(trial.params["dual.shade"] - 0.4) for trial in late) / len(late) < 0.25  # 0.58 by chance


def test_bayes_repeats_with_its_seed_and_differs_with_another(plan):
    def proposed(text):
        trials = run_one_by_one(strategy_for(plan(text), ()), lambda t: scored(float(len(t.params))))
        return [trial.params for trial in trials]

    assert proposed(BAYES) == proposed(BAYES)
    assert proposed(BAYES) != proposed(BAYES + "seed: 1\n")


def test_bayes_keeps_away_from_what_breaks_a_bound(plan):
    text = BAYES.replace("[constant, BayesDual]", "[BayesDual]")
    bounds = constraints_of({"max_cpa": 100.0})

    def judge(trial):
        shade = trial.params.get("dual.shade", 0.0)
        return scored(shade, cpa=100.0 + 100.0 * shade, delivery=0.95)  # the more the better, but never above 0

    free = run_one_by_one(strategy_for(plan(text), ()), judge)
    bound = run_one_by_one(strategy_for(plan(text), bounds), judge)
    kept = [sum(t.params["dual.shade"] <= 0.0 for t in trials[21:]) for trials in (free, bound)]
    assert kept[0] <= 6 and kept[1] >= 10


def test_the_gaussian_process_keeps_to_a_bound_and_searches_what_only_some_agents_read(plan):
    pytest.importorskip("torch", reason="optuna's Gaussian process needs torch", exc_type=ImportError)
    bounds = constraints_of({"max_cpa": 100.0})

    def judge(trial):
        shade = trial.params.get("dual.shade", -1.0)
        return scored(shade, cpa=100.0 + 100.0 * shade, delivery=0.95)  # the more the better, but never above 0

    text = BAYES.replace("run_cap: 40", "run_cap: 24") + "sampler: gp\n"
    alone = run_one_by_one(strategy_for(plan(text.replace("[constant, BayesDual]", "[BayesDual]")), bounds), judge)
    assert all(abs(trial.params["dual.shade"]) < 0.05 for trial in alone[15:])
    among = run_one_by_one(strategy_for(plan(text), bounds), judge)
    late = [trial.params["dual.shade"] for trial in among[13:] if "dual.shade" in trial.params]
    assert len(late) > 6 and len(set(late)) == len(late)


def test_bayes_hears_of_an_undelivered_budget(plan):
    text = BAYES.replace("[constant, BayesDual]", "[BayesDual]")

    def judge(trial):
        shade = trial.params.get("dual.shade", 0.0)
        return scored(shade, delivery=0.95 - shade)

    late = run_one_by_one(strategy_for(plan(text), ()), judge)[21:]
    assert sum(t.params["dual.shade"] <= 0.0 for t in late) >= 10


def test_bayes_goes_on_after_trials_without_a_score(plan):
    results = iter([None, {"score": 1.0}] * 40)
    assert len(run_one_by_one(strategy_for(plan(BAYES), ()), lambda trial: next(results))) == 41


def test_bayes_in_a_small_space_ends(plan):
    text = GRID.replace("grid", "bayes").replace("[0.0, 0.1, 0.2, 0.3]", "[0.0, 0.1]") + "run_cap: 4\n"
    proposed = run_one_by_one(strategy_for(plan(text.replace("bayes", "bayes")), ()), lambda trial: scored(1.0))
    assert {trial.params["dual.shade"] for trial in proposed[1:]} == {0.0, 0.1}


@pytest.mark.parametrize("result", [None, {}, {"final_score": None}, {"final_score": math.nan}, {"score": 1.0}])
def test_only_trials_trained_to_their_end_have_a_score(result):
    assert score_of(result) is None
    assert score_of({"final_score": 2}) == 2.0
