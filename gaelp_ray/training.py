"""The one training loop, and evaluation on fresh flights.

train() yields after every batch of parallel flights, so that its callers decide about logging, reports and
checkpoints: a Ray trial and a single training differ only in who listens. Every batch is determined by (seed,
iteration) alone; a training that continues from a checkpoint repeats an uninterrupted one bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from gaelp_ray.agents import Agent
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.records import MIN_DELIVERY, Evaluation, FlightTotals, Interval, Rollout
from gaelp_ray.worlds import Flights, World, fresh_flights, training_flights, untrained, world_of

EVALUATION_BATCH = 256
"""Flights that are evaluated in one numpy batch; part of what a seed means, so never tuned to a machine."""

RESAMPLES = 2000


class Stream(IntEnum):
    """What a random number is for. Flights of one purpose are never flown for another."""

    TRAINING = 1
    EXPLORATION = 2
    VALIDATION = 3
    SELECTION = 4
    EVALUATION = 5
    BOOTSTRAP = 6


@dataclass(frozen=True)
class Iteration:
    """One batch of parallel flights: Tune's training_iteration."""

    number: int  # from 1
    totals: FlightTotals
    learning: dict[str, float]  # the agent's diagnostics

    @property
    def env_steps(self) -> int:
        """Simulated hours of this batch."""
        return self.totals.steps * len(self.totals)


def make_untrained(config: GAELPExperimentConfig) -> tuple[Flights, Agent]:
    """The environment and the agent of a configuration."""
    world = world_of(config)
    return training_flights(world, config), untrained(world, config)


def train(env: Flights, agent: Agent, config: GAELPExperimentConfig, done: int = 0) -> Iterator[Iteration]:
    """Train through all iterations of `config`, from the first one not yet done."""
    for number in range(done + 1, config.iterations + 1):
        env_seed, agent_seed = ([config.seed, stream, number] for stream in (Stream.TRAINING, Stream.EXPLORATION))
        rollout = fly(env, agent, (env_seed, agent_seed), progress=(number - 1) / config.iterations)
        learning = agent.update(rollout)
        yield Iteration(number, env.totals(), learning)


def fly(env: Flights, agent: Agent, seeds: tuple[Sequence[int], Sequence[int]], progress: float) -> Rollout:
    """One batch of flights with exploration; `seeds` are those of the environment and of the agent."""
    obs, _ = env.reset(seed=flight_seed(seeds[0]))
    agent.begin(env.num_envs, np.random.default_rng(seeds[1]))
    seen, actions, rewards, dones = [], [], [], []
    finished = False
    while not finished:
        action = agent.act(obs, explore=True)
        seen.append(obs)
        obs, reward, terminated, truncated, _ = env.step(action)
        actions.append(action)
        rewards.append(reward)
        dones.append(terminated | truncated)
        finished = bool(dones[-1].all())
    return Rollout(np.stack(seen), np.stack(actions), np.stack(rewards), np.stack(dones), progress)


def evaluate(agent: Agent, world: World, episodes: int, seeds: Sequence[int], confidence: float = 0.95) -> Evaluation:
    """Fly `episodes` fresh flights without exploration.

    `seeds` names the flights: the same ones bring every agent the same hidden markets (common random numbers), which
    is what makes paired comparisons sharp. Use a Stream as the second entry.
    """
    parts = [fly_batch(agent, world, flights, [*seeds, n]) for n, flights in batches(episodes)]
    return summarise(FlightTotals.concatenate(parts), confidence)


def batches(episodes: int) -> list[tuple[int, int]]:
    """(number, flights) of each numpy batch that an evaluation is flown in. Raises ValueError for none."""
    if episodes < 1:
        raise ValueError(f"an evaluation needs at least one flight, not {episodes}")
    starts = range(0, episodes, EVALUATION_BATCH)
    return [(number, min(EVALUATION_BATCH, episodes - start)) for number, start in enumerate(starts)]


def fly_batch(agent: Agent, world: World, flights: int, seeds: Sequence[int]) -> FlightTotals:
    """One numpy batch of fresh flights without exploration, determined by `seeds`."""
    env = fresh_flights(world, flights)
    obs, _ = env.reset(seed=flight_seed(seeds))
    agent.begin(flights, np.random.default_rng(seeds))
    finished = False
    while not finished:
        obs, _, terminated, truncated, _ = env.step(agent.act(obs))
        finished = bool((terminated | truncated).all())
    return env.totals()


def flight_seed(entropy: Sequence[int]) -> int:
    """One integer for gymnasium's reset(seed=...) from a sequence of them."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def summarise(totals: FlightTotals, confidence: float, min_delivery: float = MIN_DELIVERY) -> Evaluation:
    """Pooled metrics of flights, with a percentile bootstrap interval for pooled ROAS (flights are resampled)."""
    rng = np.random.default_rng(Stream.BOOTSTRAP)
    flights = len(totals)
    counts = rng.multinomial(flights, np.full(flights, 1.0 / flights), size=RESAMPLES).astype(np.float64)
    cost = counts @ totals.cost
    samples = np.divide(counts @ totals.revenue, cost, out=np.full_like(cost, np.nan), where=cost > 0)
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(samples, [tail, 1.0 - tail]) if np.isfinite(samples).any() else (np.nan, np.nan)
    return Evaluation(totals.pooled(min_delivery), Interval(float(low), float(high)), confidence, totals)
