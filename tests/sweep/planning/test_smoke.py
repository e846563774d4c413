"""A time estimate: real iterations of the agents in question, and sums that can be done by hand."""

from types import SimpleNamespace

import pytest

from gaelp_ray.sweep.format.blocks import Resources
from gaelp_ray.sweep.planning import smoke as module
from gaelp_ray.sweep.planning.kept import Kept
from gaelp_ray.sweep.planning.machine import Machine
from gaelp_ray.sweep.planning.placement import placement
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.planning.smoke import Smoke, duration, measure
from gaelp_ray.sweep.trials.seed_run import VALIDATION_EPISODES
from gaelp_ray.training import EVALUATION_BATCH

HEAD = "method: grid\nmetric: {name: delivered_roas, goal: maximize}\n"


@pytest.fixture
def plan(tmp_path):
    def plan(text: str):
        (tmp_path / "trip.yaml").write_text(HEAD + text, encoding="utf-8")
        return plan_sweep(tmp_path / "trip.yaml")

    return plan


def test_a_batch_of_an_evaluation_is_what_trials_are_judged_by():
    assert VALIDATION_EPISODES == EVALUATION_BATCH


def test_every_agent_type_is_measured_with_its_smallest_and_largest_batches(plan, monkeypatch):
    monkeypatch.setattr(module, "ITERATIONS", 1)
    planned = plan(
        "parameters: {agent_type: {values: [constant, PPO]}, batch_size: {values: [4, 8, 6]}}\n"
        "trial: {agent_type: BayesDual, batch_size: 5}\n"
    )
    found = {(record.agent, record.batch_size) for record in measure(planned)}
    assert found == {("BayesDual", 5), ("constant", 4), ("constant", 8), ("PPO", 4), ("PPO", 8)}


@pytest.fixture
def clock(monkeypatch):
    """A process that takes no time but for iterations, one after the other as listed here, and flights of 10 ms."""
    clock = SimpleNamespace(now=0.0, iterations=[3.0, 0.5, 0.25, 0.75, 0.5, 9.0])
    train, fly_batch = module.train, module.fly_batch

    def trained(env, agent, config):
        for result, seconds in zip(train(env, agent, config), clock.iterations, strict=False):
            clock.now += seconds
            yield result

    def flown(agent, market, flights, seed):
        clock.now += flights * 0.01
        return fly_batch(agent, market, flights, seed)

    monkeypatch.setattr(module, "ENOUGH_SECONDS", 100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(process_time=lambda: clock.now))
    monkeypatch.setattr(module, "train", trained)
    monkeypatch.setattr(module, "fly_batch", flown)
    return clock


TRIAL = "parameters: {learning_rate: {value: 0.001}}\ntrial: {num_episodes: 48, batch_size: 8}\n"
EVALUATED = pytest.approx(0.01 * EVALUATION_BATCH)


def test_iterations_after_the_first_and_a_batch_of_an_evaluation_are_measured(plan, clock):
    planned = plan(TRIAL)
    assert measure(planned) == (Smoke(planned.trials[0].name, "PPO", 8, 4, 0.25, 0.75, EVALUATED),)


def test_slow_iterations_are_not_measured_for_long(plan, clock, monkeypatch):
    monkeypatch.setattr(module, "ENOUGH_SECONDS", 3.2)
    (found,) = measure(plan(TRIAL))
    assert (found.iterations, found.fastest, found.slowest) == (1, 0.5, 0.5)
    clock.iterations = [4.0]  # the first one, which warms up, is better than none
    (found,) = measure(plan(TRIAL))
    assert (found.iterations, found.fastest, found.slowest) == (1, 4.0, 4.0)


def test_a_few_flights_of_an_environment_of_ones_own_stand_for_a_batch(shop, plan, clock):
    shop()
    planned = plan(
        "parameters: {learning_rate: {values: [0.1]}}\ntrial: {env: 'shop:Shop', batch_size: 4, ppo.reference: none}\n"
    )
    (found,) = measure(planned)
    assert found.evaluation == EVALUATED
    assert clock.now == pytest.approx(5.0 + 0.01 * module.OWN_FLIGHTS)


@pytest.fixture
def costs(plan, monkeypatch):
    """Ten trials of 100 iterations that take 0.1 to 0.2 s each, on two workers; nothing else takes time."""
    monkeypatch.setattr(module, "TRIAL_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(module, "ITERATION_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(module, "FINAL_SECONDS", (0.0, 0.0))
    planned = plan(
        "parameters: {ppo.epochs: {min: 1, max: 10}}\ntrial: {num_episodes: 6400, batch_size: 64}\n"
        "select: {include_default: false, top_k: 3, episodes: 2560}\n"
    )
    smoke = [Smoke("trip-00", "PPO", 64, 4, 0.1, 0.2, 0.0)]
    place = placement(Resources(), None, 10, Machine(2, 0, 10**9))
    return planned, smoke, place


def test_trials_share_the_workers(costs):
    planned, smoke, place = costs
    found = duration(planned, smoke, Kept("none", "", (), 1000, 1000, 1000), place)
    # 10 trials x 10 to 20 s on 2 workers; at worst the last one starts alone, and all are slowed by each other.
    assert found.search == pytest.approx((50.0, (100 + 10) * module.BESIDE_OTHERS))
    assert (found.low, found.high) == pytest.approx((50 + 8, (100 + 10) * module.BESIDE_OTHERS + 20))
    assert found.based_on == "Based on 4 x 64 flights of trip-00 (PPO) here, without Ray"


def test_what_is_stopped_early_takes_no_time(costs):
    planned, smoke, place = costs
    found = duration(planned, smoke, Kept("asha", "", (), 250, None, 1000), place)
    assert found.search[0] == pytest.approx(12.5)
    limited = planned.spec.model_copy(update={"stop": planned.spec.stop.model_copy(update={"time": 30.0})})
    object.__setattr__(planned, "spec", limited)
    found = duration(planned, smoke, Kept("none", "", (), 1000, 1000, 1000), place)
    assert found.search == pytest.approx((30.0, 30 + 20))  # what runs when time is up may still end


def test_the_final_stage_races_the_best_and_confirms_one_beside_the_reference(costs):
    planned, _, place = costs
    smoke = [Smoke("trip-00", "PPO", 64, 4, 0.0, 0.0, 0.3)]
    found = duration(planned, smoke, Kept("none", "", (), 1000, 1000, 1000), place)
    # Batches of 256 flights on 2 CPUs: 10 each of the winner and of BayesDual, and of 3 arms 1 each at best, at worst
    # 10 each after 1 each of the two models that a trial may have kept.
    assert found.final == pytest.approx(((20 + 3) * 0.3 / 2, (20 + 30 + 6) * 0.3 / 2 * module.BESIDE_OTHERS))
    planned.spec.select.__dict__["budget"] = 2560
    found = duration(planned, smoke, Kept("none", "", (), 1000, 1000, 1000), place)
    assert found.final[1] == pytest.approx((20 + 10 + 6) * 0.3 / 2 * module.BESIDE_OTHERS)
    planned.spec.select.__dict__["markets"] = ("airfrance-search@nominal", "airfrance-search")
    found = duration(planned, smoke, Kept("none", "", (), 1000, 1000, 1000), place)
    assert found.final[1] == pytest.approx((3 * 20 + 10 + 6) * 0.3 / 2 * module.BESIDE_OTHERS)
    assert found.final[0] == pytest.approx((3 * 20 + 3) * 0.3 / 2)


def test_between_two_sizes_of_batches_time_grows_in_proportion(costs, plan):
    _, _, place = costs
    planned = plan(
        "parameters: {batch_size: {values: [10, 30, 20]}}\ntrial: {num_episodes: 60}\n"
        "select: {include_default: false}\n"
    )
    smoke = [Smoke("a", "PPO", 10, 4, 1.0, 1.0, 0.0), Smoke("b", "PPO", 30, 4, 2.0, 2.0, 0.0)]
    found = duration(planned, smoke, Kept("none", "", (), 11, 11, 11), place)
    assert found.search[0] == pytest.approx((6 * 1.0 + 2 * 2.0 + 3 * 1.5) / 2)
