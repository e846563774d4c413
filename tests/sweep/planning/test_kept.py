"""What a stopper leaves, counted by hand: rungs, and iterations at least, usually and at most."""

import pytest

from gaelp_ray.sweep.format.blocks import (
    Asha,
    EarlyTerminate,
    HyperBand,
    Median,
    NoScheduler,
    Plateau,
    Population,
    Seeds,
    SelectSpec,
    Stop,
)
from gaelp_ray.sweep.format.parameters import ParameterSpec
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.sweep.planning.kept import RACE_KEEPS, Rung, further_seeds, kept
from gaelp_ray.sweep.search.early_terminate import threshold
from gaelp_ray.sweep.search.strategies import KEPT


def spec(**blocks) -> SweepSpec:
    """Without a control arm, unless `select` says otherwise."""
    blocks = {"select": SelectSpec(include_default=False), **blocks}
    return SweepSpec(name="trip", method="random", run_cap=9, parameters={"a": ParameterSpec(value=1)}, **blocks)


def flown(found) -> tuple[int, int | None, int]:
    return found.least, found.usual, found.most


def test_without_a_scheduler_everything_is_flown():
    found = kept(spec(scheduler=NoScheduler()), [10, 20, 30], [64] * 3)
    assert (flown(found), found.rungs) == ((60, 60, 60), ())


def test_early_terminate_81_3_3():
    found = kept(spec(early_terminate=EarlyTerminate(type="hyperband", max_iter=81, s=3, eta=3)), [81] * 27, [64] * 27)
    # W&B's threshold is number int(n / 3) of the values, from 0: of 27 trials 10 pass, of 10 4, of 4 2.
    assert found.rungs == (Rung(3, 27, 10, 27), Rung(9, 10, 4, 27), Rung(27, 4, 2, 27))
    assert flown(found) == (27 * 3 + 78, 27 * 3 + 10 * 6 + 4 * 18 + 2 * 54, 27 * 81)


@pytest.mark.parametrize("eta", [2, 3, 4, 1.5])
@pytest.mark.parametrize("trials", [1, 2, 3, 8, 9, 27, 100])
def test_a_band_keeps_as_many_as_pass_the_rules_threshold(eta, trials):
    rule = EarlyTerminate(type="hyperband", min_iter=1, eta=eta)
    values = [[float(n)] for n in range(trials)]
    passing = sum(value[0] <= threshold(rule, 1, values) for value in values)
    assert kept(spec(early_terminate=rule), [2] * trials, [64] * trials).rungs[0] == Rung(1, trials, passing, trials)


def test_bands_without_an_end_stop_with_the_trials():
    rule = EarlyTerminate(type="hyperband", min_iter=4, eta=3)
    found = kept(spec(early_terminate=rule), [36, 36, 4], [64] * 3)
    assert [rung.iteration for rung in found.rungs] == [4, 12]  # 36 is the end
    assert [rung.at_most for rung in found.rungs] == [2, 2]
    assert flown(kept(spec(early_terminate=rule), [4, 3], [64] * 2)) == (7, 7, 7)


def test_asha():
    found = kept(spec(scheduler=Asha(type="asha", grace_period=1, reduction_factor=4)), [64] * 16, [64] * 16)
    assert found.rungs == (Rung(1, 16, 4, 16), Rung(4, 4, 1, 16), Rung(16, 1, 1, 16))
    assert flown(found) == (16 + 63, 16 * 1 + 4 * 3 + 1 * 60, 16 * 64)


def test_the_control_arm_is_flown_to_its_end_and_not_judged():
    rule = Asha(type="asha", grace_period=1, reduction_factor=4)
    found = kept(spec(scheduler=rule, select=SelectSpec()), [50, *[64] * 16], [64] * 17)
    assert found.rungs[0] == Rung(1, 16, 4, 16)
    assert flown(found) == (50 + 79, 50 + 88, 50 + 16 * 64)


def test_hyperband_fills_its_brackets_in_turn():
    found = kept(spec(scheduler=HyperBand(type="hyperband", reduction_factor=3)), [9] * 17, [64] * 17)
    # 3 trials fly 9; 5 fly 3, of which 2 go on; 9 fly 1, of which 3 go on to 3, of which 1 goes on.
    assert found.rungs == (Rung(1, 9, 3, 3), Rung(3, 8, 3, 3))
    assert flown(found) == (75, 75, 75)


def test_median_keeps_one_at_least_and_promises_nothing():
    found = kept(spec(scheduler=Median(type="median", grace_period=4)), [10] * 5, [64] * 5)
    assert (flown(found), found.rungs) == ((5 * 4 + 6, None, 50), ())


def test_a_population_flies_everything_and_says_what_it_exchanges():
    found = kept(spec(scheduler=Population(type="pbt", perturbation_interval=5)), [20] * 8, [64] * 8)
    assert flown(found) == (160, 160, 160)
    assert found.text == "PBT: every 5 iterations, the worst 2 go on as changed copies of better ones"


def test_stop_ends_trials_and_the_sweep_sooner():
    assert flown(kept(spec(stop=Stop(iterations=5)), [10, 3], [64] * 2)) == (8, 8, 8)
    steps = Stop(env_steps=168 * 64 * 12)
    assert flown(kept(spec(stop=steps), [10, 10], [64, 64])) == (12, None, 12)
    assert flown(kept(spec(stop=steps), [10, 10], [64, 128])) == (6, None, 12)
    for stop in (Stop(target=3.0), Stop(time=60), Stop(trial_time=1.0), Stop(plateau=Plateau(patience=2))):
        assert flown(kept(spec(stop=stop), [10, 10], [64] * 2)) == (1, None, 20)


def test_every_seed_is_a_training():
    assert flown(kept(spec(seeds=Seeds(min=3, max=3)), [10, 10], [64] * 2)) == (60, 60, 60)


def test_a_race_gives_the_better_half_another_seed_and_the_control_arm_each():
    racing = spec(seeds=Seeds(min=1, max=4), select=SelectSpec())
    assert further_seeds(racing, 10) == (5 + 1) + (3 + 1) + (2 + 1)
    assert further_seeds(spec(seeds=Seeds(min=1, max=4)), 9) == 5 + 3 + 2
    assert flown(kept(racing, [10] * 10, [64] * 10)) == (100, None, 100 + 130)
    assert RACE_KEEPS == KEPT
