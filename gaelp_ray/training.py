"""The one training loop, and evaluation on fresh flights.

train() yields after every batch of parallel flights, so that its callers decide about logging, reports and
checkpoints: a Ray trial and a single training differ only in who listens. Every batch is determined by (seed,
iteration) alone; a training that continues from a checkpoint repeats an uninterrupted one bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from gaelp_ray.agents import Agent
from gaelp_ray.agents.base import PlannedAgent
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.evidence.intervals import summarise
from gaelp_ray.market import Market
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import Evaluation, FlightTotals, FloatArray, Rollout, logged_episode
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.threads import one_thread
from gaelp_ray.worlds import Flights, World, fresh_flights, training_flights, untrained, world_of

EVALUATION_BATCH = 256
"""Flights that are evaluated in one numpy batch; part of what a seed means, so never tuned to a machine."""


class Stream(IntEnum):
    """What a random number is for. Flights of one purpose are never flown for another."""

    TRAINING = 1
    EXPLORATION = 2
    VALIDATION = 3
    SELECTION = 4
    EVALUATION = 5
    WEIGHTS = 6
    CONFIRMATION = 7
    GATE = 8
    MARKETS = 9
    PLAYOFF = 10


@dataclass(frozen=True)
class Iteration:
    """One batch of parallel flights: Tune's training_iteration."""

    number: int  # from 1
    totals: FlightTotals
    rewards: FloatArray  # (flights,), summed over each flight
    lengths: npt.NDArray[np.intp]  # (flights,), hours of each flight
    learning: dict[str, float]  # the agent's diagnostics

    @property
    def env_steps(self) -> int:
        """Simulated hours of this batch."""
        return self.totals.steps * len(self.totals)

    def episodes(self, first: int) -> list[dict[str, Any]]:
        """One dict per flight, numbered from `first`; None stands for what was not measured."""
        totals = self.totals
        columns: dict[str, Any] = {
            "total_reward": self.rewards,
            "steps": self.lengths,
            "final_roas": _ratios(totals.revenue, totals.cost),
            "total_cost": totals.cost,
            "total_revenue": totals.revenue,
            "ctr": _ratios(totals.clicks, totals.impressions),
            "conversion_rate": _ratios(totals.conversions, totals.clicks),
            "avg_cpc": _ratios(totals.cost, totals.clicks),
            "total_impressions": totals.impressions,
            "total_clicks": totals.clicks,
            "total_conversions": totals.conversions,
            "budget": totals.budget,
            "expected_revenue": totals.expected_revenue,
            "oracle_revenue": totals.oracle_revenue,
            "delivery": _ratios(totals.cost, totals.budget),
            "optimality": _ratios(totals.expected_revenue, totals.oracle_revenue),
        }
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        numbered = enumerate(([None if math.isnan(x) else x for x in row] for row in rows), first)
        return [{"episode": number} | dict(zip(columns, row, strict=True)) for number, row in numbered]

    def as_logged(self) -> dict[str, float]:
        """W&B's names of the batch as one episode, the last of its flights: their mean reward and length."""
        reward, steps = float(self.rewards.mean()), float(self.lengths.mean())
        return logged_episode(self.number * len(self.totals), reward, steps)


def _ratios(above: FloatArray, below: FloatArray) -> FloatArray:
    """Flight by flight, NaN where nothing was measured."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


@one_thread()
def make_untrained(config: GAELPExperimentConfig) -> tuple[Flights, Agent]:
    """The environment and the agent of a configuration."""
    world = world_of(config)
    return training_flights(world, config), untrained(world, config)


def train(env: Flights, agent: Agent, config: GAELPExperimentConfig, done: int = 0) -> Iterator[Iteration]:
    """Train through all iterations of `config`, from the first one not yet done."""
    for number in range(done + 1, config.iterations + 1):
        env_seed, agent_seed = ([config.seed, stream, number] for stream in (Stream.TRAINING, Stream.EXPLORATION))
        rollout = fly(env, agent, (env_seed, agent_seed), progress=(number - 1) / config.iterations)
        with one_thread():
            learning = agent.update(rollout)
        yield _iteration(number, env, rollout, learning)


def fly_as_trained(env: Flights, agent: Agent, config: GAELPExperimentConfig, number: int) -> Iteration:
    """The flights that a training's iteration `number` learned from, flown by another agent, without exploration.

    Both see the same hidden markets (common random numbers): only so are single flights comparable.
    """
    seeds = [config.seed, Stream.TRAINING, number]
    return _iteration(number, env, fly(env, agent, (seeds, seeds), explore=False), {})


def _iteration(number: int, env: Flights, rollout: Rollout, learning: dict[str, float]) -> Iteration:
    lengths = 1 + (~rollout.dones).sum(axis=0)  # the step that ends a flight is one of it
    return Iteration(number, env.totals(), rollout.rewards.sum(axis=0), lengths, learning)


@one_thread()
def fly(
    env: Flights,
    agent: Agent,
    seeds: tuple[Sequence[int], Sequence[int]],
    progress: float = 1.0,
    explore: bool = True,
) -> Rollout:
    """One batch of flights; `seeds`: of the environment, and of the agent.

    A PlannedAgent flies in C where the core is compiled: `obs` and `actions` of the rollout are then empty.
    """
    obs, _ = env.reset(seed=flight_seed(seeds[0]))
    agent.begin(env.num_envs, np.random.default_rng(seeds[1]))
    flown = None
    if isinstance(agent, PlannedAgent) and isinstance(env, AdCampaignVectorEnv):
        planner = agent.planner(explore)
        flown = env.fly(planner) if planner is not None else None
    if flown is None:
        return _step_through(env, agent, obs, progress, explore)
    rewards, info = flown
    dones = np.zeros(rewards.shape, np.bool_)
    dones[-1] = True
    nothing = np.empty((0, *obs.shape), np.float32)
    return Rollout(nothing, nothing, rewards, dones, _returns(rewards, info), progress)


def _step_through(env: Flights, agent: Agent, obs: Observation, progress: float, explore: bool) -> Rollout:
    seen, actions, rewards, dones = [], [], [], []
    info: dict[str, Any] = {}
    finished = False
    while not finished:
        action = agent.act(obs, explore=explore)
        seen.append(obs)
        obs, reward, terminated, truncated, info = env.step(action)
        actions.append(action)
        rewards.append(reward)
        dones.append(terminated | truncated)
        finished = bool(dones[-1].all())
    earned = np.stack(rewards)
    return Rollout(np.stack(seen), np.stack(actions), earned, np.stack(dones), _returns(earned, info), progress)


def _returns(rewards: FloatArray, info: Mapping[str, Any]) -> FloatArray:
    """Expected revenue / budget of each flight, (B,), where the last info has both; else the sum of its rewards."""
    known = "expected_revenue" in info and "budget" in info
    returns: FloatArray = info["expected_revenue"] / info["budget"] if known else rewards.sum(axis=0)
    return returns


def evaluate(agent: Agent, world: World, episodes: int, seeds: Sequence[int], confidence: float = 0.95) -> Evaluation:
    """Fly `episodes` fresh flights without exploration.

    `seeds` names the flights: the same ones bring every agent the same hidden markets (common random numbers), which
    is what makes paired comparisons sharp. Use a Stream as the second entry.
    """
    return evaluate_all([agent], world, episodes, seeds, confidence)[0]


def evaluate_all(
    agents: Sequence[Agent], world: World, episodes: int, seeds: Sequence[int], confidence: float = 0.95
) -> list[Evaluation]:
    """evaluate() of several agents on the same flights, which takes less time than of each by itself."""
    parts = [list(fly_all(agents, world, flights, [*seeds, n])) for n, flights in batches(episodes)]
    return [summarise(FlightTotals.concatenate(flown), confidence) for flown in zip(*parts, strict=True)]


def batches(episodes: int) -> list[tuple[int, int]]:
    """(number, flights) of each numpy batch that an evaluation is flown in. Raises ValueError for none."""
    if episodes < 1:
        raise ValueError(f"an evaluation needs at least one flight, not {episodes}")
    starts = range(0, episodes, EVALUATION_BATCH)
    return [(number, min(EVALUATION_BATCH, episodes - start)) for number, start in enumerate(starts)]


def fly_batch(agent: Agent, world: World, flights: int, seeds: Sequence[int]) -> FlightTotals:
    """One numpy batch of fresh flights without exploration, determined by `seeds`."""
    return next(fly_all([agent], world, flights, seeds))


def fly_all(agents: Sequence[Agent], world: World, flights: int, seeds: Sequence[int]) -> Iterator[FlightTotals]:
    """fly_batch() of each agent; in a market, hidden state and the hindsight optimum are computed once for all."""
    common = fresh_flights(world, flights) if isinstance(world, Market) else None
    for agent in agents:
        env = common or fresh_flights(world, flights)
        fly(env, agent, (seeds, seeds), explore=False)
        yield env.totals()


def flight_seed(entropy: Sequence[int]) -> int:
    """One integer for gymnasium's reset(seed=...) from a sequence of them."""
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
