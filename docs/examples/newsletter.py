"""An environment of one's own for gaelp-ray: a newsletter that sells one slot a day, for a fortnight.

`gaelp-ray sweep newsletter.yaml`, in this folder, flies it. What makes it fit: Box spaces of one dimension, and a last
`info` that carries cost and revenue.
"""

import gymnasium
import numpy as np

DAYS = 14
BUDGET = 700.0


class Newsletter(gymnasium.Env):
    """Each day: bid for the slot. Readers buy more on weekdays, and the price to beat has a level of its own."""

    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (3,), np.float32)
        self.action_space = gymnasium.spaces.Box(0.0, 200.0, (1,), np.float32)  # the bid

    def reset(self, *, seed=None, options=None):
        """A fresh fortnight."""
        super().reset(seed=seed)
        self.day, self.cost, self.revenue, self.slots = 0, 0.0, 0.0, 0
        self.level = 60.0 * np.exp(0.3 * self.np_random.standard_normal())
        return self._observe(), {}

    def step(self, action):
        """Bid for one day's slot."""
        price = self.level * np.exp(0.4 * self.np_random.standard_normal())
        bid = min(float(action[0]), BUDGET - self.cost)
        earned = 0.0
        if bid > price:
            self.cost += price
            self.slots += 1
            earned = self.np_random.gamma(2.0, 75.0 if self.day % 7 < 5 else 40.0)
        self.revenue += earned
        self.day += 1
        info = {"cost": self.cost, "revenue": self.revenue, "budget": BUDGET, "conversions": self.slots}
        return self._observe(), earned / BUDGET, self.day == DAYS, False, info

    def _observe(self):
        return np.array([self.day / DAYS, self.cost / BUDGET, float(self.day % 7 < 5)], np.float32)
