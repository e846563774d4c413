"""What a trial flies in: a calibrated market in the simulator, or an environment of the user's own.

Everything above this room takes a World and need not know which; the few differences are the functions here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from gaelp_ray.agents import Action, Agent, State, copies, make_agent, make_policy, reference_bidder
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ConfigError, MarketError, did_you_mean
from gaelp_ray.market import Market, load_market
from gaelp_ray.market.market import is_market_file, market_from
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import FlightTotals, Rollout
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.simulator.campaign import StepResult
from gaelp_ray.simulator.own import OwnEnv

World: TypeAlias = Market | OwnEnv


class Flights(Protocol):
    """A batch of parallel flights, all of which end before they are started anew."""

    num_envs: int

    def reset(self, *, seed: int | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start all flights."""

    def step(self, actions: Action) -> StepResult:
        """One hour of all flights."""

    def totals(self) -> FlightTotals:
        """The flights' sums."""


def world_of(config: GAELPExperimentConfig, folder: str | None = None) -> World:
    """Where a configuration trains; `folder` holds the module of an own environment (default: the working directory).

    Raises MarketError.
    """
    if config.env is not None:
        return OwnEnv(env=config.env, folder=folder if folder is not None else str(Path.cwd()))
    return market_of(config)


def market_of(config: GAELPExperimentConfig) -> Market:
    """The market that a configuration trains in, departures, heterogeneity and conditions applied."""
    return load_market(config.market).variant(
        config.departures,
        config.heterogeneity,
        config.auction,
        config.conversion_delay,
        config.fatigue_half_life,
    )


WAYS = {
    **{"realistic": ("departures", str), "nominal": ("departures", str)},
    **{"second_price": ("auction", str), "first_price": ("auction", str)},
    **{name: (name, float) for name in ("heterogeneity", "conversion_delay", "fatigue_half_life")},
}
"""What may follow a market's name: a value that says itself whose it is, or a field that has a number."""


def market_named(text: str) -> Market:
    """A market as a command line names it: `airfrance-search`, `my.yaml`, `my.yaml@nominal,heterogeneity=1.0`.

    Raises MarketError.
    """
    name, ways = parts_of(text)
    if not ways:
        return load_market(name)
    try:
        return market_of(GAELPExperimentConfig(market=name, **dict(_way(way.strip()) for way in ways[1:].split(","))))
    except (ConfigError, ValueError) as error:
        raise MarketError(f"market {text!r}: {error}") from None


def parts_of(text: str) -> tuple[str, str]:
    """The name or the file of a market as it is named, and the rest of the text: from the `@` on, or nothing."""
    name, at, ways = (text, "", "") if is_market_file(text) else text.rpartition("@")
    return (name, at + ways) if at else (text, "")


def other_channels(mine: Market, theirs: Market) -> str:
    """Why whoever bids in one market cannot bid in another: what each of them bids for; empty where it can.

    An agent sees and bids for the very channels that it was trained for, in their order. Their calibrated numbers may
    be others: what it sees is relative to those of the market it flies in, and so are its bids.
    """
    known, names = mine.channel_names, theirs.channel_names
    if known == names:
        return ""
    # The first name that is another one at its place, else the first.
    other = next((name for name, own in zip(names, known, strict=False) if name != own), names[0])
    return (
        f"for the {len(known)} channels of {mine.name!r} ({known[0]!r}, ...), not for the {len(names)} of "
        f"{theirs.name!r} ({other!r}, ...)"
    )


def _way(way: str) -> tuple[str, Any]:
    """(field, value) of one word after the `@`."""
    key, equals, number = way.partition("=")
    if key not in WAYS:
        raise ValueError(f"unknown {way!r} after the @. {did_you_mean(key, WAYS)}")
    field, kind = WAYS[key]
    if bool(equals) != (kind is float):
        raise ValueError(f"write {key}=NUMBER" if kind is float else f"{key} has no value")
    try:
        return field, kind(number if equals else key)
    except ValueError:
        raise ValueError(f"{key}: {number!r} is not a number") from None


def world_from(data: Any, where: str) -> World:
    """A World from plain values, its model_dump(). Raises MarketError naming `where`."""
    if isinstance(data, Mapping) and "env" in data:
        try:
            return OwnEnv.model_validate(data)
        except ValidationError as error:
            raise MarketError(f"{where}: {error.errors()[0]['msg']}") from None
    return market_from(data, where)


MARKET_FIELDS = (
    *("market", "departures", "heterogeneity", "auction", "conversion_delay", "fatigue_half_life"),
    "reward_function",
)
"""Fields of a configuration that describe a market and its reward: an own environment has its own of both."""


def fresh_flights(world: World, number: int) -> Flights:
    """A batch of flights to be judged by."""
    return AdCampaignVectorEnv(number, world) if isinstance(world, Market) else world.flights(number)


def training_flights(world: World, config: GAELPExperimentConfig) -> Flights:
    """A batch of flights to learn from: the reward and the copies that the configuration asks for."""
    if isinstance(world, Market):
        return AdCampaignVectorEnv(config.batch_size, world, config.reward_function, copies(config))
    return world.flights(config.batch_size)


def untrained(world: World, config: GAELPExperimentConfig) -> Agent:
    """The agent of a configuration. Raises ConfigError for one that cannot fly there."""
    if isinstance(world, Market):
        return make_agent(config, world.landscape)
    return make_policy(config, world.spaces.observed, world.spaces.actions)


def reference_for(world: World) -> Agent | None:
    """The reference line of a leaderboard; an own environment has none."""
    return reference_bidder(world.landscape) if isinstance(world, Market) else None


class EnvAgent:
    """A trained agent in the spaces of the environment that it was trained for, as gymnasium's loops want it.

    act() takes what the environment returns, one observation (D,) or a batch (B, D), and gives what its step() takes,
    (A,) or (B, A). `agent` is the one inside, which sees float32 batches and acts in [-1, 1].
    """

    def __init__(self, agent: Agent, world: World) -> None:
        self.agent = agent
        self._spaces = world.spaces if isinstance(world, OwnEnv) else None

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        """Start new flights: 1 for a single environment, B for a batch."""
        self.agent.begin(flights, rng)

    def act(self, obs: npt.ArrayLike, explore: bool = False) -> npt.NDArray[Any]:
        """Actions of one step. Raises OwnEnvError for observations that do not fit the own environment."""
        given = np.asarray(obs)
        actions = self._act(given if given.ndim > 1 else given[None], explore)
        return actions if given.ndim > 1 else actions[0]

    def _act(self, batch: npt.NDArray[Any], explore: bool) -> npt.NDArray[Any]:
        if self._spaces is None:  # a market's spaces are the agents' own
            return self.agent.act(batch, explore)
        seen = np.stack([self._spaces.to_agent(obs, "act() was given") for obs in batch])
        self._spaces.require_finite(seen, "act()")
        return self._spaces.to_env(self.agent.act(seen, explore))

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Let the agent inside learn from a rollout, whose actions are its own, in [-1, 1]."""
        return self.agent.update(rollout)

    def state_dict(self) -> dict[str, npt.NDArray[Any]]:
        """That of the agent inside."""
        return self.agent.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Load the state of the agent inside."""
        self.agent.load_state_dict(state)
