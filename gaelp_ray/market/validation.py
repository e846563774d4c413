"""The optional `validation` block of a market file: how a calibration did on rows that it had not seen.

Written by `gaelp-ray calibrate`. It describes the evidence for a market and changes nothing in it.
"""

from __future__ import annotations

from pydantic import Field

from gaelp_ray.market.blocks import Block


class BesideFloor(Block):
    """A figure of the simulated held-out half, and the same figure between two random halves of the real data."""

    value: float | None  # None where it is not defined, such as the correlation of constants
    floor: float | None
    ratio: float | None = None  # value / floor, for errors: 1 is as good as more real data

    @classmethod
    def error(cls, value: float | None, floor: float | None) -> BesideFloor:
        """An error, with its ratio to the floor."""
        return cls(value=value, floor=floor, ratio=value / floor if value is not None and floor else None)


class MetricValidation(Block):
    """One metric over the segments: medians over random splits of the rows, each beside its noise floor."""

    mae: BesideFloor
    rmse: BesideFloor
    correlation: BesideFloor  # Pearson
    within_1x: BesideFloor | None = None  # share of segments that differ by at most 1.0; of ROAS only
    coverage_90: float | None = Field(ge=0, le=1)  # of the real values by the simulated 90 % intervals


class RowSpread(Block):
    """How single rows differ from their segment beyond chance: coefficients of variation of their true rates."""

    ctr: float = Field(ge=0)
    cpc: float = Field(ge=0)
    conversion_rate: float = Field(ge=0)


class ResponseError(Block):
    """Error of the predicted log ratio between rows of high and of low bids: medians over random splits of the rows."""

    mae: BesideFloor
    coverage_90: float = Field(ge=0, le=1)  # of the real log ratios by the 90 % intervals


class ChannelResponse(Block):
    """One channel's rows of high bids in units of its rows of low bids, in halves that the fit has not seen."""

    channel: str
    bids: float
    clicks: float  # per row
    predicted_clicks: float
    cpc: float
    predicted_cpc: float


class PriceResponse(Block):
    """Clicks and prices as functions of the bid: a test on rows of different bids, or the reason why there is none."""

    not_tested: str | None = None
    clicks: ResponseError | None = None
    cpc: ResponseError | None = None
    channels: tuple[ChannelResponse, ...] = ()


class Validation(Block):
    """Fit on a random half of the rows, simulate the other half, compare per segment."""

    rows: int
    segments: int  # median over the splits
    min_clicks: int  # that a segment needs in both halves to be compared
    splits: int  # that were simulated
    interval_splits: int  # of them, those with `replicates`, which coverage is of
    floor_splits: int  # that the noise floor is the median of
    replicates: int  # of each split with intervals; of large tables, the others have fewer
    seed: int
    row_spread: RowSpread
    ctr: MetricValidation
    cpc: MetricValidation
    conversion_rate: MetricValidation
    roas: MetricValidation
    price_response: PriceResponse | None = None  # None: calibrated before this was tested
