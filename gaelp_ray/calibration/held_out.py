"""How well a market repeats real campaigns that it was not calibrated on: those of its `held_out` block.

Each is simulated with rates fitted without it (replays.py) and compared with what it really did. Every figure stands
beside its noise floor: the same with the real rest of its channel, or its channel's real earlier days, in the place of
the simulation; or that between random halves of the campaigns, where the block has it. Start at compare_held_out().
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gaelp_ray.calibration.fit import MIN_CLICKS
from gaelp_ray.calibration.replays import Replay, replays
from gaelp_ray.calibration.table import BoolArray
from gaelp_ray.calibration.validation import METRICS, Sums, beside, coverage_of, enough, errors_of, rates
from gaelp_ray.errors import ConfigError, MarketError
from gaelp_ray.market.held_out import NUMBERS, Campaign, NoiseFloor, without
from gaelp_ray.market.market import Market
from gaelp_ray.market.validation import BesideFloor, MetricValidation
from gaelp_ray.records import FloatArray


@dataclass(frozen=True)
class HeldOutComparison:
    """Figures of simulated campaigns against the real ones, each beside its noise floor."""

    market: str
    samples: int
    rows: tuple[Mapping[str, str | float | None], ...]
    """One per compared campaign: campaign, channel, clicks and, of each metric, `_real`, `_simulated`, `_rest`."""
    ctr: MetricValidation
    cpc: MetricValidation
    conversion_rate: MetricValidation
    roas: MetricValidation

    def as_dict(self) -> dict[str, str | float | None]:
        """Flat: `roas_mae`, `roas_mae_noise_floor`, `roas_mae_ratio`, ...; None where nothing could be measured."""
        flat: dict[str, str | float | None] = {
            "market": self.market,
            "campaigns": len(self.rows),
            "samples": self.samples,
        }
        for name in METRICS:
            metric: MetricValidation = getattr(self, name)
            for error, figure in (("mae", metric.mae), ("rmse", metric.rmse)):
                flat[f"{name}_{error}"] = figure.value
                flat[f"{name}_{error}_noise_floor"] = figure.floor
                flat[f"{name}_{error}_ratio"] = figure.ratio
            flat[f"{name}_correlation"] = metric.correlation.value
            flat[f"{name}_correlation_noise_floor"] = metric.correlation.floor
            flat[f"{name}_coverage_90"] = metric.coverage_90
            if metric.within_1x:
                flat[f"{name}_accuracy_within_1x"] = metric.within_1x.value
                flat[f"{name}_accuracy_within_1x_noise_floor"] = metric.within_1x.floor
        return flat


def compare_held_out(
    market: Market, samples: int = 100, seed: int = 0, min_clicks: int = MIN_CLICKS // 2
) -> HeldOutComparison:
    """Simulate every held-out campaign `samples` times and compare.

    Args:
        market: with a `held_out` block, else MarketError.
        samples: replicates of a campaign's whole period.
        seed: decides everything that is simulated.
        min_clicks: that a campaign needs, and what it is predicted from, to be compared.
    """
    if market.held_out is None:
        raise MarketError(
            f"{market.name} has no `held_out` campaigns to be compared with: `gaelp-ray calibrate` writes them from a "
            "table of campaign results, or add the block by hand"
        )
    if samples < 1:
        raise ConfigError([("samples", f"{samples}: must be at least 1")])
    known = _known(market, market.held_out.rows, min_clicks)
    drawn = replays(np.random.default_rng(seed), market, known, samples)
    told, floor, real = rates(drawn.sum(axis=0)), rates(known.rest), rates(known.real)
    found = {}
    recorded = market.held_out.noise_floor
    for m, name in enumerate(METRICS):
        both: BoolArray = np.isfinite(told[m]) & np.isfinite(floor[m]) & np.isfinite(real[m])
        covered = coverage_of(rates(drawn), real, both)
        metric = beside(m, [errors_of(told, real, both)], [errors_of(floor, real, both)], covered[None])
        found[name] = _above(metric, getattr(recorded, name)) if recorded else metric
    return HeldOutComparison(market.name, samples, _rows(known, real, told, floor), **found)


def _above(metric: MetricValidation, floor: NoiseFloor) -> MetricValidation:
    """The same figures beside a floor that was recorded; the RMSE then has none."""
    beside_floor = {
        "mae": BesideFloor.error(metric.mae.value, floor.mae),
        "rmse": BesideFloor.error(metric.rmse.value, None),
        "correlation": BesideFloor(value=metric.correlation.value, floor=floor.correlation),
        "within_1x": metric.within_1x and BesideFloor(value=metric.within_1x.value, floor=floor.within_1x),
    }
    return metric.model_copy(update=beside_floor)


def _known(market: Market, campaigns: Sequence[Campaign], min_clicks: int) -> Replay:
    """The campaigns that can be compared."""
    channels = {channel.name: channel for channel in market.channels.rows}
    parts = market.held_out is not None and market.held_out.kind == "parts"
    whole = [channels[row.channel] for row in campaigns]
    left = [without(c, row) if parts else c.model_dump() for c, row in zip(whole, campaigns, strict=True)]
    real, rest = _sums([row.model_dump() for row in campaigns]), _sums(left)
    assumed = market.outcomes.order_value.value if market.outcomes else math.nan
    # Where either has no revenue, both get it from the assumed value of an order.
    value = np.where(np.isfinite(real[4]) & np.isfinite(rest[4]), np.nan, assumed)
    for totals in (real, rest):
        totals[4] = np.where(np.isfinite(value), totals[3] * value, totals[4])
    keep = enough(real, rest, max(min_clicks, 1))
    return Replay(
        campaigns=tuple(row for row, kept in zip(campaigns, keep, strict=True) if kept),
        real=real[:, keep],
        rest=rest[:, keep],
        assumed_value=value[keep],
    )


def _sums(rows: Sequence[Mapping[str, float | None]]) -> Sums:
    """(5, N), NaN where a number is not known."""
    return np.array([[row[name] for row in rows] for name in NUMBERS], dtype=np.float64)


def _rows(
    known: Replay, real: FloatArray, told: FloatArray, floor: FloatArray
) -> tuple[Mapping[str, str | float | None], ...]:
    rows = []
    for n, campaign in enumerate(known.campaigns):
        row: dict[str, str | float | None] = {"campaign": campaign.name, "channel": campaign.channel}
        row["clicks"] = campaign.clicks
        for m, name in enumerate(METRICS):
            sides = {"real": real[m, n], "simulated": told[m, n], "rest": floor[m, n]}
            measured = all(map(math.isfinite, sides.values()))
            row |= {f"{name}_{side}": float(number) if measured else None for side, number in sides.items()}
        rows.append(row)
    return tuple(rows)
