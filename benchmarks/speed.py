"""How fast the simulator, the bidders and the learners are, beside the package at an earlier commit: `make bench`.

Env-steps (flight-hours, 168 of an episode) per CPU second on one thread. Both versions run in processes of their own,
in turn, so that a machine whose speed drifts slows both alike. Every figure is the median of five; the first round
warms up.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial

import numpy as np
from baseline import COMMIT, SERVE, Server, serve, versions

from gaelp_ray import AdCampaignVectorEnv, GAELPExperimentConfig, Market, load_market, training
from gaelp_ray.agents import reference_bidder
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.training import EVALUATION_BATCH, Stream, fly, make_untrained, train

RUNS = 5
ALL_FLIGHTS = 1024  # of a measurement, in batches
MARKETS = {"": "airfrance-search", ", first price": "airfrance-search", ", ipinyou-display": "ipinyou-display"}


@cache
def market_of(condition: str) -> Market:
    """The market, read once: reading its file costs as much time as simulating 64 flights."""
    market = load_market(MARKETS[condition])
    return market.variant(auction="first_price") if "first" in condition else market


def simulate(flights: int, condition: str) -> int:
    """Whole flights at constant bids through gymnasium's vector interface: observations, budgets and books included."""
    env = AdCampaignVectorEnv(flights, market_of(condition))
    action = np.full((flights, env.landscape.channels), -0.25, np.float32)
    batches = max(ALL_FLIGHTS // flights, 1)
    for seed in range(batches):
        env.reset(seed=seed)
        for _ in range(HOURS):
            env.step(action)
    return batches * flights * HOURS


def bid(flights: int, condition: str) -> int:
    """Whole flights of BayesDual with the hindsight optimum, as in an evaluation."""
    env = AdCampaignVectorEnv(flights, market_of(condition))
    bidder, batches = reference_bidder(env.landscape), max(ALL_FLIGHTS // flights, 1)
    for seed in range(batches):
        fly(env, bidder, ([seed], [seed]), explore=False)
        env.totals()
    return batches * flights * HOURS


def fly_arms(arms: int) -> int:
    """A round of a final stage: one batch of each arm, the same flights for all of them."""
    market, seeds = market_of(""), [0, Stream.SELECTION, 0]
    bidders = [reference_bidder(market.landscape) for _ in range(arms)]
    if hasattr(training, "fly_all"):
        list(training.fly_all(bidders, market, EVALUATION_BATCH, seeds))
    else:  # the earlier commit flies arm by arm
        for bidder in bidders:
            training.fly_batch(bidder, market, EVALUATION_BATCH, seeds)
    return arms * EVALUATION_BATCH * HOURS


def learn(flights: int, iterations: int, **fields: object) -> int:
    """Training iterations, updates and the hindsight optimum included."""
    config = GAELPExperimentConfig(batch_size=flights, num_episodes=flights * iterations, **fields)
    env, agent = make_untrained(config)
    return sum(iteration.env_steps for iteration in train(env, agent, config))


PPO = {
    "agent_type": "PPO",
    "reward_function": "regret",
    "ppo": {"reference": "BayesDual", "correction": "multiplier"},
}
CASES: dict[str, Callable[[], int]] = {
    **{f"simulator, {n:,} flights": partial(simulate, n, "") for n in (64, 256, 1024)},
    **{f"BayesDual with optimum, {n:,} flights": partial(bid, n, "") for n in (64, 256, 1024)},
    **{
        f"{name}, {n} flights{condition}": partial(case, n, condition)
        for condition in tuple(MARKETS)[1:]
        for name, case in {"simulator": simulate, "BayesDual with optimum": bid}.items()
        for n in (64, 256)
    },
    **{f"PPO on BayesDual, {n:,} flights": partial(learn, n, max(ALL_FLIGHTS // n, 1), **PPO) for n in (64, 256, 1024)},
    "PPO alone, 64 flights": partial(learn, 64, 16, agent_type="PPO"),
    "CEM of BayesDual, 512 flights": partial(learn, 512, 2, agent_type="CEM"),
    "final stage, 6 BayesDuals x 256 flights": partial(fly_arms, 6),
}


def measured(case: str) -> float:
    """Env-steps per CPU second."""
    start = time.process_time()
    steps = CASES[case]()
    return steps / (time.process_time() - start)


def main() -> None:
    with versions() as folders, ExitStack() as stack:
        servers = {name: stack.enter_context(Server(__file__, folder)) for name, folder in folders.items()}
        print(f"{'env-steps per CPU second':44s} {COMMIT:>10s} {'now':>10s} {'ratio':>7s}")
        for case in CASES:
            speeds: dict[str, list[float]] = {name: [] for name in servers}
            for _ in range(RUNS + 1):
                for name, server in servers.items():
                    speeds[name].append(server.ask(case))
            before, now = (statistics.median(speeds[name][1:]) for name in ("baseline", "now"))
            print(f"{case:44s} {before:10,.0f} {now:10,.0f} {now / before:7.2f}", flush=True)


if __name__ == "__main__":
    serve(measured) if sys.argv[1:] == [SERVE] else main()
