"""How fast the simulator and the learners are: env-steps per CPU second, as ratios measured in one run.

    make bench

Every figure is the median of five, with the cases in turn (A B C A B C ...), so that a machine whose speed drifts
slows all of them alike. CPU seconds, one thread. The yardstick is numpy drawing the random numbers of 64 flights' hours
and nothing else; ratios to it say more about the code, and less about the machine, than the figures themselves.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

from gaelp_ray import AdCampaignVectorEnv, GAELPExperimentConfig, load_market
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.training import make_untrained, train

RUNS = 5
MARKET = load_market("airfrance-search")  # reading its file takes as long as 64 flights


def yardstick(flights: int) -> int:
    """The draws of one hour: two binomials and a Poisson per channel, nothing around them."""
    rng = np.random.default_rng(0)
    market = MARKET.landscape
    rate = np.broadcast_to(market.volume / 24.0, (flights, market.channels))
    for _ in range(HOURS):
        clicks = rng.binomial(rng.poisson(rate), market.ctr)
        rng.binomial(clicks, market.conversion_rate)
    return flights * HOURS


def simulate(flights: int) -> int:
    """Whole flights at constant bids: observation, budget and books included."""
    env = AdCampaignVectorEnv(flights, MARKET)
    env.reset(seed=0)
    action = np.full((flights, env.landscape.channels), -0.25, np.float32)
    for _ in range(HOURS):
        env.step(action)
    return flights * HOURS


def learn(agent_type: str, reference: str = "none") -> int:
    """Training iterations of 64 flights, updates and the oracle's optimality included."""
    config = GAELPExperimentConfig(
        agent_type=agent_type, batch_size=64, num_episodes=64 * 4, ppo={"reference": reference}
    )
    env, agent = make_untrained(config)
    return sum(iteration.env_steps for iteration in train(env, agent, config))


CASES: dict[str, Callable[[], int]] = {
    "yardstick: the random draws alone, 64 flights": lambda: yardstick(64),
    "simulator, 1 flight": lambda: simulate(1),
    "simulator, 64 flights": lambda: simulate(64),
    "simulator, 1,024 flights": lambda: simulate(1024),
    "BayesDual, 64 flights, with optimality": lambda: learn("BayesDual"),
    "ExactBayes, 64 flights, with optimality": lambda: learn("ExactBayes"),
    "PPO alone": lambda: learn("PPO"),
    "PPO residual on BayesPID": lambda: learn("PPO", "BayesPID"),
    "PPO residual on BayesDual": lambda: learn("PPO", "BayesDual"),
}


def measure(cases: Mapping[str, Callable[[], int]]) -> dict[str, list[float]]:
    """Env-steps per CPU second of each case, RUNS times."""
    speeds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(RUNS + 1):
        for name, case in cases.items():
            start = time.process_time()
            steps = case()
            if number:  # the first round warms up
                speeds[name].append(steps / (time.process_time() - start))
    return speeds


def main() -> None:
    speeds = measure(CASES)
    base = statistics.median(next(iter(speeds.values())))
    print(f"{'env-steps per CPU second':48s} {'median':>10s} {'min':>10s} {'max':>10s} {'ratio':>7s}")
    for name, measured in speeds.items():
        median = statistics.median(measured)
        print(f"{name:48s} {median:10,.0f} {min(measured):10,.0f} {max(measured):10,.0f} {median / base:7.3f}")


if __name__ == "__main__":
    main()
