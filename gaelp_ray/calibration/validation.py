"""How good is a calibration? Fit on a random half of the rows, simulate the other half, compare per segment.

Every error stands beside its noise floor: the same error between the two halves of the real data. A calibration cannot
be better than that, except by luck; a ratio of 1 says that simulating is as good as more real data.
Start at validate().
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gaelp_ray.calibration.fit import MIN_CLICKS, Estimates, estimate
from gaelp_ray.calibration.response import validate_response
from gaelp_ray.calibration.simulation import replicates_of
from gaelp_ray.calibration.table import BoolArray, CampaignTable
from gaelp_ray.market.validation import BesideFloor, MetricValidation, RowSpread, Validation
from gaelp_ray.records import FloatArray

METRICS = ("ctr", "cpc", "conversion_rate", "roas")
SPLITS, FLOOR_SPLITS = 20, 200
REPLICATES, FEW_REPLICATES = 200, 20
CELLS, MIN_INTERVAL_SPLITS = 5_000_000, 2
"""Intervals need all replicates, errors only a few: of large tables, only so many splits have REPLICATES that their
cells (rows x replicates) stay below CELLS, which bounds the time."""

Sums = FloatArray
"""(..., 5, S): impressions, clicks, cost, conversions, revenue of each segment."""


def validate(
    table: CampaignTable, order_value: float | None = None, seed: int = 0, min_clicks: int = MIN_CLICKS // 2
) -> Validation:
    """The validation of a table's calibration.

    Args:
        table: rows whose segments are the channels, from pool().
        order_value: revenue of a conversion, where the table has none.
        seed: decides the splits and everything that is simulated.
        min_clicks: that a segment needs in both halves of a split to be compared.
    """
    split_rng, draw_rng = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    n = len(table.clicks)
    halves = [split_rng.random(n) < 0.5 for _ in range(FLOOR_SPLITS)]
    intervals = int(np.clip(CELLS // max(n * REPLICATES // 2, 1), MIN_INTERVAL_SPLITS, SPLITS))
    floors = [_compare(*_halves(table, half, order_value), min_clicks) for half in halves]
    models, coverages = [], []
    for number, half in enumerate(halves[:SPLITS]):
        seen, unseen = _halves(table, half, order_value)
        compared = enough(seen, unseen, min_clicks)
        count = REPLICATES if number < intervals else FEW_REPLICATES
        drawn = replicates_of(draw_rng, table.rows(half), table.rows(~half), order_value, count)
        models.append(errors_of(rates(drawn.sum(axis=0)), rates(unseen), compared))
        if number < intervals:
            coverages.append(coverage_of(rates(drawn), rates(unseen), compared))
    whole = estimate(table)
    return Validation(
        rows=n,
        segments=int(np.median([floor.segments for floor in floors])),
        min_clicks=min_clicks,
        splits=SPLITS,
        interval_splits=intervals,
        floor_splits=FLOOR_SPLITS,
        replicates=REPLICATES,
        seed=seed,
        row_spread=_row_spread(whole),
        price_response=validate_response(table, halves, SPLITS),
        **{name: beside(m, models, floors, np.array(coverages)) for m, name in enumerate(METRICS)},
    )


def _row_spread(found: Estimates) -> RowSpread:
    return RowSpread(ctr=found.ctr_variation, cpc=found.cpc_variation, conversion_rate=found.conversion_rate_variation)


def sums(table: CampaignTable, order_value: float | None) -> Sums:
    """(5, S) sums of the segments."""
    revenue = table.revenue if table.revenue is not None else table.conversions * (order_value or 0.0)
    return np.stack([table.sums(x) for x in (table.impressions, table.clicks, table.cost, table.conversions, revenue)])


def rates(totals: Sums) -> FloatArray:
    """(..., 4, S) CTR, CPC, conversion rate and ROAS; NaN where nothing was measured."""
    impressions, clicks, cost, conversions, revenue = np.moveaxis(totals, -2, 0)
    pairs = ((clicks, impressions), (cost, clicks), (conversions, clicks), (revenue, cost))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([np.where(below > 0, above / below, np.nan) for above, below in pairs], axis=-2)


def _halves(table: CampaignTable, half: BoolArray, order_value: float | None) -> tuple[Sums, Sums]:
    return sums(table.rows(half), order_value), sums(table.rows(~half), order_value)


def enough(one: Sums, other: Sums, min_clicks: int) -> BoolArray:
    """Segments with enough clicks, and some cost, in both halves: (S,)."""
    found: BoolArray = (np.minimum(one[1], other[1]) >= min_clicks) & (np.minimum(one[2], other[2]) > 0)
    return found


@dataclass(frozen=True)
class Errors:
    """Of each metric, (4,) each; NaN where no segment could be compared."""

    segments: int
    mae: FloatArray
    rmse: FloatArray
    correlation: FloatArray
    within_1x: FloatArray


def _compare(seen: Sums, unseen: Sums, min_clicks: int) -> Errors:
    return errors_of(rates(seen), rates(unseen), enough(seen, unseen, min_clicks))


def errors_of(told: FloatArray, real: FloatArray, compared: BoolArray) -> Errors:
    """Of (4, S) rates against the real ones, over the compared segments."""
    count = int(compared.sum())
    if not count:
        nothing = np.full(len(METRICS), np.nan)
        return Errors(0, nothing, nothing, nothing, nothing)
    told, real = told[:, compared], real[:, compared]
    gap = np.abs(told - real)
    return Errors(
        segments=count,
        mae=gap.mean(axis=1),
        rmse=np.sqrt((gap**2).mean(axis=1)),
        correlation=np.array([_correlation(a, b) for a, b in zip(told, real, strict=True)]),
        within_1x=(gap <= 1.0).mean(axis=1),
    )


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Pearson's; NaN for constants, for what is not known, and for fewer than three segments."""
    if len(a) < 3 or not all(x.std() > 1e-12 * abs(x.mean()) for x in (a, b)):
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def coverage_of(drawn: FloatArray, real: FloatArray, compared: BoolArray) -> FloatArray:
    """(4,) share of the compared segments whose real rate lies in the 90 % interval of the replicates (R, 4, S)."""
    if not compared.any():
        return np.full(len(METRICS), np.nan)
    low, high = np.nanquantile(drawn[:, :, compared], (0.05, 0.95), axis=0)
    inside = (low <= real[:, compared]) & (real[:, compared] <= high)
    share: FloatArray = inside.mean(axis=1)
    return share


def beside(metric: int, models: Sequence[Errors], floors: Sequence[Errors], coverages: FloatArray) -> MetricValidation:
    """One metric's figures beside their floors: medians over splits, and the mean of the (K, 4) coverages."""

    def medians(of: Callable[[Errors], FloatArray]) -> tuple[float | None, float | None]:
        return _median([of(m)[metric] for m in models]), _median([of(f)[metric] for f in floors])

    within = medians(lambda errors: errors.within_1x)
    correlation = medians(lambda errors: errors.correlation)
    covered = coverages[:, metric][np.isfinite(coverages[:, metric])]
    return MetricValidation(
        mae=BesideFloor.error(*medians(lambda errors: errors.mae)),
        rmse=BesideFloor.error(*medians(lambda errors: errors.rmse)),
        correlation=BesideFloor(value=correlation[0], floor=correlation[1]),
        # Rates far below 1 always agree within 1: the share says something of ROAS alone.
        within_1x=BesideFloor(value=within[0], floor=within[1]) if METRICS[metric] == "roas" else None,
        coverage_90=float(covered.mean()) if covered.size else None,
    )


def _median(numbers: Sequence[float]) -> float | None:
    finite = [number for number in numbers if np.isfinite(number)]
    return float(np.median(finite)) if finite else None
