"""The optional `held_out` block of a market file: what real campaigns did that a calibration can be compared with.

Evidence about a market, like `validation`: it changes nothing in it. calibration/held_out.py makes the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from gaelp_ray.errors import did_you_mean
from gaelp_ray.market.blocks import Block, Channel

NUMBERS = ("impressions", "clicks", "cost", "conversions", "revenue")

ROUNDED = 1e-4
"""Relative excess of parts over their channel that is put down to sums rounded in the source."""


class Campaign(Channel):
    """What one real campaign of a channel did, in sums; unlike a channel, it may have sold nothing."""

    channel: str
    conversions: float | None = Field(None, ge=0)
    revenue: float | None = Field(None, ge=0)
    # How many rows of the source average out in it, (sum of clicks)^2 / sum of clicks^2; 1: it is a row itself.
    effective_rows: float = Field(1.0, ge=1, allow_inf_nan=False)


class NoiseFloor(Block):
    """How far random halves of the same real campaigns lie apart, for one metric."""

    mae: float = Field(gt=0)
    correlation: float = Field(ge=-1, le=1)
    within_1x: float | None = Field(None, ge=0, le=1)


class NoiseFloors(Block):
    """Of the source itself, known beforehand, for campaigns whose rests are no random halves of theirs."""

    note: str
    ctr: NoiseFloor
    cpc: NoiseFloor
    conversion_rate: NoiseFloor
    roas: NoiseFloor


class HeldOut(Block):
    """Campaigns from one source.

    `parts`: of the channels' sums, without overlap; each is predicted from its channel without it. `later`: measured
    after the calibration period; each is predicted from its whole channel. Without `noise_floor`, what a campaign is
    predicted from stands for more real data of it.
    """

    kind: Literal["parts", "later"]
    source: str
    note: str = ""
    rows: tuple[Campaign, ...]
    noise_floor: NoiseFloors | None = None

    def check(self, channels: Sequence[Channel]) -> None:
        """Raises ValueError: no campaign, a campaign of no channel, or parts that cannot be parts of theirs."""
        if not self.rows:
            raise ValueError("held_out.rows is empty: give at least one campaign, or leave the block out")
        known = {channel.name: channel for channel in channels}
        for row in self.rows:
            if row.channel not in known:
                where = f"held_out campaign {row.name!r} names the channel {row.channel!r}"
                raise ValueError(f"{where}. {did_you_mean(row.channel, known)}")
        if self.kind == "parts":
            for channel in channels:
                parts = [row for row in self.rows if row.channel == channel.name]
                _check_sums(channel, parts)
                _check_rests(channel, parts)


def without(channel: Channel, part: Campaign) -> dict[str, float | None]:
    """What a channel keeps without one of its parts, by name; None where one of the two is not known."""
    pairs = {name: (getattr(channel, name), getattr(part, name)) for name in NUMBERS}
    return {
        name: None if whole is None or own is None else max(whole - own, 0.0) for name, (whole, own) in pairs.items()
    }


def _check_sums(channel: Channel, parts: Sequence[Campaign]) -> None:
    for name in NUMBERS:
        whole, together = getattr(channel, name), sum(getattr(part, name) or 0.0 for part in parts)
        if whole is not None and together > whole * (1.0 + ROUNDED):
            few = ", ".join(repr(part.name) for part in parts[:3]) + (", ..." if len(parts) > 3 else "")
            raise ValueError(
                f"held_out parts of the channel {channel.name!r} ({few}) have {together:g} {name}, more than its "
                f"{whole:g}: correct the sums, or say `kind: later`"
            )


def _check_rests(channel: Channel, parts: Sequence[Campaign]) -> None:
    for part in parts:
        left = without(channel, part)
        impressions, clicks, conversions = (left[name] or 0.0 for name in ("impressions", "clicks", "conversions"))
        if not impressions >= clicks >= conversions:
            raise ValueError(
                f"held_out campaign {part.name!r} would leave its channel {channel.name!r} {impressions:g} "
                f"impressions, {clicks:g} clicks and {conversions:g} conversions, which is no funnel: correct the sums"
            )
