"""What is drawn of each parameter: its ends, its histogram, and how often each value comes."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.sweep.format.space import draw
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.planning.ranges import PRIOR_DRAWS, histogram, parameter_ranges


@pytest.fixture
def ranges(tmp_path):
    """The ranges of parameters that are written in one line, by name."""

    def ranges(parameters: str, head: str = "method: random\nrun_cap: 50\n"):
        path = tmp_path / "trip.yaml"
        text = f"{head}metric: {{name: delivered_roas, goal: maximize}}\nparameters: {parameters}\n"
        path.write_text(text, encoding="utf-8")
        plan = plan_sweep(path)
        return plan, {found.name: found for found in parameter_ranges(plan)}

    return ranges


@pytest.mark.parametrize(
    ("drawn", "log", "bins"),
    [
        (list(range(8)), False, (1, 1, 1, 1, 1, 1, 1, 1)),  # whole, each its own
        ([2, 2, 5], False, (2, 0, 0, 1)),
        ([0.0, 0.1, 0.2, 0.3, 0.9, 1.0, 0.35, 0.4], False, (3, 3, 0, 2)),  # 2 * 8^(1/3) = 4 bins
        ([1.0, 10.0, 100.0, 1000.0, 2.0, 20.0, 200.0, 10000.0], True, (2, 2, 2, 2)),
        ([0.5, 0.5], False, (2,)),
        ([7], False, (1,)),
    ],
)
def test_a_histogram_of_known_draws(drawn, log, bins):
    assert histogram(drawn, log, all(isinstance(value, int) for value in drawn)) == bins


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=300), st.booleans())
def test_no_draw_is_lost_and_none_is_counted_twice(drawn, log):
    bins = histogram(drawn, log, whole=False)
    assert sum(bins) == len(drawn)
    assert len(bins) <= 20
    assert bins[0] > 0 and bins[-1] > 0


def test_ends_are_those_of_the_planned_configurations(ranges):
    plan, found = ranges("{learning_rate: {min: 0.001, max: 0.01}, ppo.epochs: {min: 1, max: 4}}")
    for name, record in found.items():
        drawn = [trial.params[name] for trial in plan.trials if not trial.is_default]
        assert (record.smallest, record.largest, record.draws) == (min(drawn), max(drawn), 50)
        assert sum(record.bins) == 50 and record.counts == () and not record.log
    epochs = [trial.params["ppo.epochs"] for trial in plan.trials[1:]]
    assert found["ppo.epochs"].bins == tuple(epochs.count(n) for n in (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("distribution", "log"),
    [("log_uniform_values", True), ("inv_log_uniform_values", True), ("uniform", False), ("int_uniform", False)],
)
def test_bins_of_a_logarithmic_distribution_are_those_of_its_logarithm(ranges, distribution, log):
    name, low, high = ("num_episodes", 1, 10000) if distribution == "int_uniform" else ("learning_rate", 0.001, 0.1)
    plan, found = ranges(f"{{{name}: {{distribution: {distribution}, min: {low}, max: {high}}}}}")
    drawn = np.array([trial.params[name] for trial in plan.trials[1:]], float)
    assert found[name].log is log
    values = np.log(drawn) if log else drawn
    assert found[name].bins == tuple(np.histogram(values, math.ceil(2 * 50 ** (1 / 3)))[0])


def test_values_of_a_list_are_counted_in_the_order_of_the_file_the_never_drawn_too(ranges):
    agent = "{values: [PPO, BayesDual, constant], probabilities: [0.5, 0.5, 0.0]}"
    plan, found = ranges(f"{{agent_type: {agent}, heterogeneity: {{value: 0.5}}, dual.shade: {{min: 0.1, max: 0.2}}}}")
    agents = [trial.params["agent_type"] for trial in plan.trials[1:]]
    counts = (("PPO", agents.count("PPO")), ("BayesDual", agents.count("BayesDual")), ("constant", 0))
    assert found["agent_type"].counts == counts
    assert found["agent_type"].bins == () and found["agent_type"].smallest is None
    assert found["heterogeneity"].counts == ((0.5, 50),)


def test_a_grid_has_each_value_as_often_as_it_runs(ranges):
    _, found = ranges("{batch_size: {values: [16, 32]}, ppo.epochs: {min: 1, max: 3}}", "method: grid\n")
    assert found["batch_size"].counts == ((16, 3), (32, 3))
    assert found["ppo.epochs"].bins == (2, 2, 2)


def test_a_bayes_search_is_shown_by_draws_from_its_prior(ranges):
    plan, found = ranges("{learning_rate: {min: 0.001, max: 0.01}}", "method: bayes\nrun_cap: 3\n")
    drawn = [draw(plan.spec, number)["learning_rate"] for number in range(PRIOR_DRAWS)]
    assert (found["learning_rate"].draws, found["learning_rate"].smallest) == (PRIOR_DRAWS, min(drawn))
    assert [a < b for a, b in pairwise((0.001, min(drawn), max(drawn), 0.01))] == [True] * 3
