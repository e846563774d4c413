"""Campaign flights as gymnasium environments: one week, hourly bids on every channel, one hard budget.

AdCampaignVectorEnv flies B campaigns in one numpy batch and is what training uses; AdCampaignEnv is the same flight,
one at a time, for single-environment learners. Autoreset follows gymnasium's NEXT_STEP convention: all flights of a
batch end in the same step, and the step after it ignores its actions, resets, and returns reward 0.
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from gaelp_ray.core.dual import CompiledDual
from gaelp_ray.errors import ActionError
from gaelp_ray.market import Market, load_market, observation
from gaelp_ray.market.auction import Hour, Outcome
from gaelp_ray.market.elementary import total
from gaelp_ray.market.landscape import HOURS
from gaelp_ray.market.observation import Observation
from gaelp_ray.records import FlightTotals, FloatArray
from gaelp_ray.simulator.compiled_flight import fly_in_c
from gaelp_ray.simulator.hidden import Hidden
from gaelp_ray.simulator.oracle import Optimum, Regret, hindsight_optimum
from gaelp_ray.simulator.random_streams import KeyedStream

Action = npt.NDArray[np.float32]
Reward = Literal["ROAS_optimized", "expected_ROAS", "regret"]
StepResult = tuple[Observation, FloatArray, npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]


class AdCampaignVectorEnv(gymnasium.vector.VectorEnv[Observation, Action, npt.NDArray[Any]]):
    """B parallel flights. Observations (B, D), actions (B, S) in [-1, 1], rewards (B,).

    Args:
        num_envs: B, the number of flights.
        market: name of a shipped market, path of a market file, or a Market.
        reward: `ROAS_optimized`: revenue of the hour / budget, so that the undiscounted sum is ROAS x delivery;
            `expected_ROAS`: the same with the luck of single orders averaged out (the simulator knows the true
            rates), a lower-variance signal for training; `regret`: minus what the hour's bids lose against the
            hindsight optimum's, in expected surplus (revenue - lambda x cost; what is left at the end counts as cost).
            The sum is expected revenue - the optimum's (but that the hour in which money runs out counts as a whole
            one), and an hour's reward says at once whether its money was well spent: lambda x budget left is a
            potential (Ng, Harada & Russell 1999), the optimum's surplus a baseline.
        copies: the B flights are B / copies different ones, each flown `copies` times, block after block.

    Every random number belongs to (seed, flight, hour, channel, purpose): a flight is the same in any batch, and copies
    and different bidders share all random numbers. reset(options={"first_flight": k}) numbers the flights k, k + 1, ...

    Raises MarketError for an unknown market. The last step's info holds the sums of every flight, (B,) arrays
    under the names of FlightTotals.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012  # as gymnasium has it

    def __init__(
        self,
        num_envs: int = 1,
        market: str | Market = "airfrance-search",
        reward: Reward = "ROAS_optimized",
        copies: int = 1,
    ) -> None:
        if num_envs % copies:
            raise ValueError(f"{num_envs} flights cannot be {copies} copies of the same number of flights")
        self.num_envs, self._copies = num_envs, copies
        self.market = load_market(market) if isinstance(market, str) else market
        self.landscape = self.market.landscape
        self.reward = reward
        shape = (observation.size(self.landscape.channels),)
        # Wide enough for every market: counts and ratios are logarithms, shares lie within 0 and 17.
        self.single_observation_space = gymnasium.spaces.Box(-50.0, 50.0, shape, np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.landscape.channels,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._flights: tuple[int | None, int] = (None, 0)  # the seed, and the number of the first
        self._hidden: Hidden | None = None
        self._optimum: Optimum | None = None
        self._regret: Regret | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start B new flights. With a seed, everything hidden and every draw that follows is determined by it.

        With the seed of the flights before, which another bidder is to fly, what is hidden is not drawn again.

        Raises ValueError for a seed of more than 64 bits.
        """
        super().reset(seed=seed)
        flights = seed, (options or {}).get("first_flight", 0)
        self._random = self._new_random(*flights)
        if self._hidden is None or seed is None or flights != self._flights:
            self._flights, self._hidden = flights, self._random.hidden()
            self._optimum = self._regret = None
        self._ledger = self._random.ledger(self._hidden.budget)
        return self._ledger.observe(), {}

    def _new_random(self, seed: int | None, first_flight: int) -> KeyedStream:
        # Flights that start without a seed follow from the last one that was given.
        key = int(self.np_random.integers(2**64, dtype=np.uint64)) if seed is None else seed
        if key >= 2**64:
            raise ValueError(f"seed {seed}: seeds lie below 2^64")
        numbers = np.arange(first_flight, first_flight + self.num_envs // self._copies)
        return KeyedStream(key, self.landscape, numbers, self._copies)

    def step(self, actions: Action) -> StepResult:
        """Bid for one hour. Spend never exceeds the budget; the 168th step ends every flight.

        Raises ActionError for actions of another shape, or that are not finite.
        """
        if self._hidden is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        if actions.shape != self.action_space.shape:
            raise ActionError(
                f"actions have shape {actions.shape}, not {self.action_space.shape}: pass one row per episode, one "
                "column per channel"
            )
        if self._ledger.hour == HOURS:
            obs, info = self.reset()
            return obs, np.zeros(self.num_envs), self._flags(False), self._flags(False), info
        if not np.isfinite(actions).all():
            raise self._not_finite(actions)
        ledger, t = self._ledger, self._ledger.hour
        drawn = self._random.draw(self._hidden, ledger, actions)
        earned = ledger.book(drawn.outcome, self._hidden.conversion_rate[t], drawn.bids)
        done = ledger.hour == HOURS
        reward = self._reward(drawn.outcome, earned, drawn.hour)
        info = self._final_info() if done else {}
        return (
            self._ledger.observe(), reward / self._hidden.budget, self._flags(done), self._flags(False), info
        )  # fmt: skip

    def _not_finite(self, actions: Action) -> ActionError:
        bad = np.argwhere(~np.isfinite(actions))
        episode, channel = map(int, bad[0])
        more = f" (and {len(bad) - 1} more of {actions.size})" if len(bad) > 1 else ""
        return ActionError(
            f"step {self._ledger.hour}: episode {episode}, channel {self.market.channel_names[channel]!r}: action "
            f"{actions[episode, channel]} is not finite{more}: actions are numbers in [-1, 1]. Check the policy's "
            "output"
        )

    def fly(self, planner: CompiledDual) -> tuple[FloatArray, dict[str, Any]] | None:
        """Every hour of flights that reset() has just started, planned and flown in C: the bits of single steps.

        Returns the rewards, (168, B), and the last step's info. None where numpy computes, or C plans for other
        flights: then nothing has happened, and step() is the way.
        """
        if self._hidden is None:
            raise gymnasium.error.ResetNeeded("call reset() before fly()")
        if planner.shape != self.action_space.shape:
            return None
        reward = self._best().multiplier if self.reward == "regret" else self.reward == "expected_ROAS"
        rewards = fly_in_c(self._random.cells, self._hidden, self._ledger, planner, reward)
        return None if rewards is None else (rewards, self._final_info())

    def totals(self) -> FlightTotals:
        """The flights' sums so far, with the hindsight optimum of the whole flight (solved once, on request)."""
        if self._hidden is None:
            raise gymnasium.error.ResetNeeded("call reset() before totals()")
        return FlightTotals(steps=self._ledger.hour, oracle_revenue=self._best().revenue, **self._ledger.sums())

    def _best(self) -> Optimum:
        """The hindsight optimum, solved once per flight and only on request."""
        assert self._hidden is not None
        if self._optimum is None:
            self._optimum = hindsight_optimum(self._hidden, self._copies)
        return self._optimum

    def _reward(self, outcome: Outcome, earned: FloatArray, hour: Hour) -> FloatArray:
        """Of the hour just booked, (B,), in money."""
        if self.reward == "ROAS_optimized":
            return total(outcome.revenue)
        if self.reward == "expected_ROAS":
            return earned
        multiplier = self._best().multiplier
        if self._regret is None:
            self._regret = Regret(self.landscape.pricing, self.landscape.order_value, multiplier)
        left = self._ledger.budget_left if self._ledger.hour == HOURS else 0.0
        return -self._regret(hour, outcome) - multiplier * left

    def _flags(self, value: bool) -> npt.NDArray[np.bool_]:
        return np.ones(self.num_envs, np.bool_) if value else np.zeros(self.num_envs, np.bool_)

    def _final_info(self) -> dict[str, Any]:
        # gymnasium's vector convention: each array comes with a mask of the flights that it speaks of.
        sums = self._ledger.sums()
        return sums | {f"_{name}": self._flags(True) for name in sums}


class AdCampaignEnv(gymnasium.Env[Observation, Action]):
    """One flight: AdCampaignVectorEnv with B = 1, the same numbers for the same seed.

    The last step's info holds the flight's sums as floats: cost, revenue, budget and the rest of FlightTotals.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # as gymnasium has it

    def __init__(self, market: str | Market = "airfrance-search", reward: Reward = "ROAS_optimized") -> None:
        self._batch = AdCampaignVectorEnv(1, market, reward)
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space
        self._ended = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a new flight."""
        super().reset(seed=seed)
        obs, info = self._batch.reset(seed=seed)
        self._ended = False
        return obs[0], info

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Bid for one hour; the action has shape (S,). A flight that has ended needs reset()."""
        if self._ended:
            raise gymnasium.error.ResetNeeded("the flight has ended: call reset()")
        obs, reward, terminated, truncated, info = self._batch.step(action[None])
        self._ended = bool(terminated[0])
        scalars = {name: float(array[0]) for name, array in info.items() if not name.startswith("_")}
        return obs[0], float(reward[0]), self._ended, bool(truncated[0]), scalars

    def totals(self) -> FlightTotals:
        """The flight's sums so far, with its hindsight optimum."""
        return self._batch.totals()
