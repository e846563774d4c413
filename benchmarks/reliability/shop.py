"""Environments of four days for the sweeps here: one that behaves, and those that do not.

What is wrong with an environment begins with the ninth flight of each copy of it, thus in the ninth iteration: trials
with fewer iterations do not notice. Imported by name in the working directory, like any environment of one's own.
"""

import os
import time
import zlib

import gymnasium
import numpy as np

DAYS, BUDGET = 4, 20.0
CALM_FLIGHTS = 8
PACE = float(os.environ.get("SHOP_PACE", "0.02"))
HOARD = []
BLIND = []


class Shop(gymnasium.Env):
    """Spend between 1 and 9 a day; each unit brings two. From its second flight on, each takes PACE seconds."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(1.0, 9.0, (1,), np.float32)
        self.flights = 0

    def reset(self, *, seed=None, options=None):
        """A fresh flight."""
        super().reset(seed=seed)
        self.flights += 1
        self.day, self.cost, self.revenue = 0, 0.0, 0.0
        if self.flights > 1:
            time.sleep(PACE)
        if self.flights > CALM_FLIGHTS:
            self.misbehave()
        return self._observe(), {}

    def misbehave(self):
        """Not this one."""

    def step(self, action):
        """Spend one day's money."""
        self.day += 1
        earned = float(action[0]) * self.np_random.gamma(4.0, 0.5)
        self.cost += float(action[0])
        self.revenue += earned
        info = {"cost": self.cost, "revenue": self.revenue, "budget": BUDGET}
        return self._observe(), earned / BUDGET, self.day == DAYS, False, info

    def _observe(self):
        return np.array([self.day / DAYS, self.cost / BUDGET], np.float32)


class Poisoned(Shop):
    """Its cost is no number any more."""

    def misbehave(self):
        """From here on every metric is NaN."""
        self.cost = float("nan")


class Unseen(Shop):
    """Once it has misbehaved nobody sees an advertisement, not in validation either, until another training begins."""

    def reset(self, *, seed=None, options=None):
        """A fresh flight."""
        if self.flights == 1:
            BLIND.clear()
        return super().reset(seed=seed)

    def misbehave(self):
        """Copies that are made later know it, too."""
        BLIND.append(True)

    def step(self, action):
        """Spend one day's money."""
        seen, reward, ended, cut, info = super().step(action)
        shown = 0.0 if BLIND else 100.0
        return seen, reward, ended, cut, info | {"impressions": shown, "clicks": shown * float(action[0]) / 10.0}


class Hungry(Shop):
    """It keeps 48 MB of every flight, for ever."""

    def misbehave(self):
        """Written to, as pages that nobody has touched cost nothing."""
        HOARD.append(np.ones(6_000_000))


class Stuck(Shop):
    """It hangs."""

    def misbehave(self):
        """As in a request without a time-out."""
        time.sleep(3600.0)


class Unlucky(Shop):
    """In its second iteration it raises, or not: as good as random, but of the same actions always the same."""

    def step(self, action):
        """Of a thousand first actions 85 are unlucky ones: of trials with four flights then, 30 in a hundred."""
        if self.flights == 2 and self.day == 0 and zlib.crc32(action.tobytes()) % 1000 < 85:
            raise RuntimeError(f"out of luck with {action[0]:.6f}")
        return super().step(action)


class Broken(Shop):
    """It always raises the same."""

    def misbehave(self):
        """A mistake in user code."""
        raise KeyError("price")
