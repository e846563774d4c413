"""What a bidder sees: one vector per flight and hour, and its names.

The layout is shared by the simulator, which fills it, and the bidders, which read it. Together with the calibrated
market it is all a bidder needs: prices and counts can be recovered exactly from it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from gaelp_ray.records import FloatArray

Observation = npt.NDArray[np.float32]

PER_CHANNEL = (
    # log of posterior / calibrated conversion rate, exact Bayes weight; clicks count as far as their conversions would
    # have been reported by now
    "log_conversion_rate_ratio",
    "win_rate",  # chance of winning an auction at the last hour's bid (platforms report it as impression share)
    "log_price_ratio",  # log of the mean price below the bid in the last hour / calibrated CPC
    "log_clicks",  # log(1 + clicks so far)
    # log(1 + clicks that the calibrated volume and CTR, with fatigue, led to expect at the same win rates)
    "log_expected_clicks",
    "spend_share",  # cost so far / budget
    "recent_spend",  # moving average of hourly cost / (budget / 168), weight 0.1 on the last hour
    "log_fatigue",  # log of what frequency has left of the click-through rate; 0 in a market without fatigue
)
GLOBAL = (
    "time_left",  # 1 at the start, 0 at the end
    "budget_left",  # share of the budget
    "pacing_error",  # spent share of the budget - share of the expected traffic that has passed
    "hour_sin",  # hour of the day on the circle
    "hour_cos",
    "log_budget",  # log of budget / the market's budget
)


def size(channels: int) -> int:
    """Length D of an observation of S channels."""
    return len(PER_CHANNEL) * channels + len(GLOBAL)


def pack(per_channel: Mapping[str, FloatArray], overall: Mapping[str, FloatArray]) -> Observation:
    """Observations (B, D) from named (B, S) and (B,) arrays."""
    blocks = [per_channel[name] for name in PER_CHANNEL]
    blocks.append(np.stack([overall[name] for name in GLOBAL], axis=1))
    return np.concatenate(blocks, axis=1, dtype=np.float32, casting="same_kind")


class View:
    """Named access to observations (B, D): per-channel names give (B, S), the others (B,); float64 for arithmetic."""

    def __init__(self, obs: Observation) -> None:
        self._obs = obs
        self._channels = (obs.shape[1] - len(GLOBAL)) // len(PER_CHANNEL)

    def channel(self, name: str) -> FloatArray:
        """One feature of every channel, (B, S)."""
        start = PER_CHANNEL.index(name) * self._channels
        return self._obs[:, start : start + self._channels].astype(np.float64)

    def overall(self, name: str) -> FloatArray:
        """One feature of the flight, (B,)."""
        return self._obs[:, GLOBAL.index(name) - len(GLOBAL)].astype(np.float64)
