"""Whether a user's own environment can be swept, found out by flying it before anything starts.

Three short flights in the process that plans cost less than a batch of training. Left to the trials, the same mistake
would start Ray, fail every one of them after its first batch, and leave as many crashed runs in W&B; and what only the
final stage would notice, a seed that does not decide its flight, would be noticed when the search is over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from gaelp_ray.errors import OwnEnvError
from gaelp_ray.records import FlightTotals, FloatArray
from gaelp_ray.simulator.own import FOREIGN, OwnEnv, broken
from gaelp_ray.simulator.own_flights import OwnVectorEnv

PATIENCE = 2.0
"""Seconds for all flights together: what a slow or endless environment does later, its trials will say."""

SEED = 1


@dataclass(frozen=True)
class _Flight:
    """Observation and reward after each step, in one row, and the sums of a flight that ended in time."""

    rows: list[FloatArray]
    totals: FlightTotals | None


def try_out(own: OwnEnv) -> None:
    """Fly an environment with random actions: twice the same flight, and once with other actions.

    Raises OwnEnvError: it cannot be imported, made or flown, lacks numbers, or its seed does not decide a flight.
    """
    make = own.make
    try:
        env = OwnVectorEnv(make, 1, own.name)
        until = time.monotonic() + PATIENCE
        first, again, other = (_flown(env, actions, until) for actions in (0, 0, 1))
    except FOREIGN as error:
        raise OwnEnvError(f"env {own.name!r}: it breaks when it is flown: {broken(error)}") from None
    _require_same(own, first, again)
    _require_same_budget(own, first, other)


def _flown(env: OwnVectorEnv, actions: int, until: float) -> _Flight:
    rng = np.random.default_rng(actions)
    obs, _ = env.reset(seed=SEED)
    rows, finished = [np.append(obs, 0.0)], False
    while not finished and time.monotonic() < until:
        action = rng.uniform(-1.0, 1.0, (1, env.actions)).astype(np.float32)
        obs, reward, terminated, _, _ = env.step(action)
        rows.append(np.append(obs, reward))
        finished = bool(terminated.all())
    return _Flight(rows, env.totals() if finished else None)


def _require_same(own: OwnEnv, first: _Flight, again: _Flight) -> None:
    """Common flights are what arms are compared on."""
    for step, rows in enumerate(zip(first.rows, again.rows, strict=False)):  # patience may have ended one of them
        if not np.allclose(*rows):
            where = f"step {step}" if step else "the first observation"
            raise OwnEnvError(
                f"env {own.name!r}: reset(seed=...) does not decide a flight: flown again with the same seed and "
                f"actions, {where} differs. Draw from self.np_random only, and let reset() forget the last flight"
            )


def _require_same_budget(own: OwnEnv, first: _Flight, other: _Flight) -> None:
    """Arms fly the same flights with other actions, and their budgets are compared."""
    if first.totals and other.totals and first.totals.budget[0] != other.totals.budget[0]:
        raise OwnEnvError(
            f"env {own.name!r}: the budget in the last info depends on the actions ({first.totals.budget[0]:g} or "
            f"{other.totals.budget[0]:g}): give what the flight could spend, not what is left of it"
        )
