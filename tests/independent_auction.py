"""An auction hour on numpy's generator, every click by itself: what the law of keyed hours is compared with."""

import numpy as np

from gaelp_ray.market.auction import Hour, Outcome, Purse, in_a_row, serve


def draw(rng: np.random.Generator, hour: Hour, bids: np.ndarray, purse: Purse) -> Outcome:
    """Draw one hour at these bids, (B, S)."""
    win, mean = hour.pricing.clearing(np.log(bids), hour.log_price)
    shown = rng.poisson(hour.volume * win * purse.open())
    happens, channel = in_a_row(rng.binomial(shown, hour.ctr))
    chance, time = rng.random((2, *happens.shape))
    cell = channel + shown.shape[1] * np.arange(len(shown))[:, None]
    bill = np.where(happens, _price(hour, bids, chance, cell, channel), 0.0)
    order = np.argsort(np.where(happens, time, 1.0), axis=1)
    bill, time, channel, cell = (
        np.take_along_axis(a, order, axis=1) for a in (bill, np.where(happens, time, 1.0), channel, cell)
    )
    paid, served = serve(bill, time, channel, purse)
    clicked = np.bincount(cell.ravel(), (bill > 0.0).ravel(), shown.size).reshape(shown.shape)
    clicks = np.bincount(cell.ravel(), (paid > 0.0).ravel(), shown.size).reshape(shown.shape).astype(np.int64)
    waiting = rng.binomial(clicks, hour.conversion_rate) + hour.pending
    conversions = rng.binomial(waiting, hour.report_rate)
    shape = hour.order_value_shape
    return Outcome(
        impressions=clicks + rng.binomial(shown - clicked.astype(np.int64), served),
        clicks=clicks,
        cost=np.bincount(cell.ravel(), paid.ravel(), shown.size).reshape(shown.shape),
        conversions=conversions,
        revenue=np.where(conversions, rng.gamma(shape * np.maximum(conversions, 1), hour.order_value / shape), 0.0),
        pending=waiting - conversions,
        win_rate=win,
        price=mean,
        open=purse.open(),
    )


def _price(hour: Hour, bids: np.ndarray, chance: np.ndarray, cell: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """Of single clicks: a competing price below the bid, by its quantile; the bid itself in a first-price auction."""
    if hour.pricing.first_price:
        return bids.take(cell)
    win = hour.pricing.shape.win(np.log(bids) - hour.log_price)
    price = hour.pricing.shape.price((chance * win.take(cell)).ravel(), channel.ravel()).reshape(cell.shape)
    return np.minimum(np.exp(hour.log_price.take(cell)) * price, bids.take(cell))
