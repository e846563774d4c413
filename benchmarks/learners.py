"""Our PPO beside stable-baselines3's, memory of a trial's process, and what more traffic costs; part of `make bench`.

Speeds are env-steps per CPU second with one thread, medians of five with the cases in turn; ratios are those of one
run. The learners have the same env (64 flights), network (64 x 64, tanh) and batch (4 epochs of 8 minibatches), and
compute the optimality of each batch. The library flies twice: in its own learn(), which is how it is commonly used,
and as our agent `sb3:PPO` in our loop, which asks it for values and log probabilities once per batch of flights
instead of once per hour.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import psutil

from gaelp_ray import AdCampaignVectorEnv, GAELPExperimentConfig, Market, load_market
from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.market import market_from
from gaelp_ray.training import make_untrained, train

RUNS, FLIGHTS, BATCHES = 5, 64, 4
MEMORY = "--memory"


def ours(agent_type: str, iterations: int = BATCHES) -> int:
    """Training iterations in our loop."""
    config = GAELPExperimentConfig(
        agent_type=agent_type,
        batch_size=FLIGHTS,
        num_episodes=FLIGHTS * iterations,
        ppo={"reference": "none"},
        sb3={"reference": "none"},
    )
    env, agent = make_untrained(config)
    return sum(iteration.env_steps for iteration in train(env, agent, config))


def theirs() -> int:
    """The same training in the library's own learn()."""
    from sb3_learn import learn

    return learn(FLIGHTS, BATCHES)


def with_traffic(times: float) -> Market:
    """The default market with that many times its auctions and budget, at the same prices."""
    market = load_market("airfrance-search").model_dump(mode="json")
    market["period_days"]["value"] /= times
    market["flight"]["budget"]["value"] *= times
    return market_from(market, f"{times:g} times the traffic")


def simulate(market: Market) -> int:
    """Whole flights at constant bids."""
    env = AdCampaignVectorEnv(FLIGHTS, market)
    env.reset(seed=0)
    action = np.full((FLIGHTS, env.landscape.channels), -0.25, np.float32)
    for _ in range(HOURS):
        env.step(action)
    return FLIGHTS * HOURS


def speeds(cases: Mapping[str, Callable[[], int]]) -> dict[str, float]:
    """Median env-steps per CPU second of each case, taken in turn."""
    measured: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(RUNS + 1):
        for name, case in cases.items():
            start = time.process_time()
            steps = case()
            if number:  # the first round warms up
                measured[name].append(steps / (time.process_time() - start))
    return {name: statistics.median(values) for name, values in measured.items()}


def compare(title: str, cases: Mapping[str, Callable[[], int]]) -> None:
    """Print the speeds, and how many times each of the others the first case is."""
    measured = speeds(cases)
    first = next(iter(measured.values()))
    print(f"{title:58s} {'median':>10s} {'first is':>9s}")
    for name, speed in measured.items():
        print(f"  {name:56s} {speed:10,.0f} {first / speed:8.2f}x")


def memory(agent_type: str) -> float:
    """Resident memory, MB, of a fresh process that has trained one trial without Ray."""
    run = subprocess.run(
        [sys.executable, __file__, MEMORY, agent_type], check=True, capture_output=True, text=True, timeout=300
    )
    return float(run.stdout)


def main() -> None:
    extra = missing_extra("sb3:PPO")
    learners = {"our PPO": lambda: ours("PPO")}
    if not extra:
        learners["stable-baselines3's PPO, its own learn()"] = theirs
        learners["stable-baselines3's PPO as our agent sb3:PPO"] = lambda: ours("sb3:PPO")
    compare("learners, env-steps per CPU second", learners)
    traffic = {f"{times:g} times the auctions": with_traffic(times) for times in (1.0, 100.0)}
    flights = {name: partial(simulate, market) for name, market in traffic.items()}
    compare("simulator, env-steps per CPU second", flights)
    print("resident memory of a process that has trained one trial")
    for agent_type in ("PPO",) if extra else ("PPO", "sb3:PPO"):
        print(f"  {agent_type:56s} {memory(agent_type):7,.0f} MB")
    if extra:
        print(f"no comparison with stable-baselines3: {extra} (here: make sb3)")


def main_of_memory(agent_type: str) -> None:
    ours(agent_type)
    print(psutil.Process().memory_info().rss / 1e6)


if __name__ == "__main__":
    main_of_memory(sys.argv[2]) if MEMORY in sys.argv else main()
