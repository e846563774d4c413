"""Numbers do not depend on how many threads a process gives to matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.evidence.intervals import compare
from gaelp_ray.threads import matrix_products, one_thread
from gaelp_ray.training import Stream, evaluate, make_untrained, train
from gaelp_ray.worlds import world_of

CONFIG = GAELPExperimentConfig(agent_type="PPO", num_episodes=256, batch_size=256, ppo={"hidden_size": 128})


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture
def three_threads():
    with threadpool_limits(limits=3, user_api="blas"):
        if blas_threads() != {3}:
            pytest.skip("numpy's BLAS of this machine takes no number of threads")
        yield


def test_a_block_has_one_thread_and_leaves_the_number_as_it_was(three_threads):
    with pytest.raises(RuntimeError, match="inside"), one_thread():
        assert blas_threads() == {1}
        raise RuntimeError("inside")
    assert blas_threads() == {3}


def numbers():
    """Of a training and of evaluations before and after it: flights, intervals, weights."""
    env, agent = make_untrained(CONFIG)
    world, seeds = world_of(CONFIG), [0, Stream.EVALUATION]
    before = evaluate(agent, world, 256, seeds)
    (trained,) = train(env, agent, CONFIG)
    after = evaluate(agent, world, 256, seeds)
    difference = compare(after.totals, before.totals, 0.95)
    intervals = [(i.low, i.high) for i in (before.roas_interval, after.roas_interval, difference.interval)]
    flights = [trained.totals.cost, before.totals.revenue, after.totals.revenue]
    return [*flights, np.array(intervals), *dict(sorted(agent.state_dict().items())).values()]


def test_trainings_and_evaluations_do_not_depend_on_threads(three_threads):
    shared = numbers()
    with threadpool_limits(limits=1, user_api="blas"):
        alone = numbers()
    for a, b in zip(shared, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_multiplies_is_named_with_its_kernels():
    names = {library["internal_api"] for library in threadpool_info() if library["user_api"] == "blas"}
    assert {part.split()[0] for part in matrix_products().split(", ") if part} == names
