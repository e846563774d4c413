"""Whole flights in C where that can be: every hour of a bidder that C plans, with the bits of single steps."""

from __future__ import annotations

from gaelp_ray.core.dual import CompiledDual
from gaelp_ray.core.flight import Parts, Regret, Terms, Truth, fly
from gaelp_ray.core.library import load
from gaelp_ray.market.compiled_auction import compiled_hour
from gaelp_ray.market.compiled_prices import prices_in_c
from gaelp_ray.market.elementary import log
from gaelp_ray.market.stream import Cells
from gaelp_ray.records import FloatArray
from gaelp_ray.simulator.compiled_ledger import CompiledLedger
from gaelp_ray.simulator.hidden import Hidden
from gaelp_ray.simulator.ledger import Ledger


def fly_in_c(
    cells: Cells, hidden: Hidden, ledger: Ledger, planner: CompiledDual, reward: FloatArray | bool
) -> FloatArray | None:
    """Fly all hours of flights that have just started; returns rewards, (H, B).

    Rewards are regret where `reward` are multipliers of the hindsight optimum, (B,), and else revenue, expected or not.
    Returns None, and leaves everything as it is, where numpy draws the auctions or has drawn some already.
    """
    library, market = load().library, hidden.landscape
    if library is None or not isinstance(ledger, CompiledLedger) or ledger.hour:
        return None
    prices = prices_in_c(market.pricing, market.channels, plans=not isinstance(reward, bool))
    terms = Terms(
        hours=ledger.hours(),
        log_bid=log(market.bid),
        action_scale=market.action_scale,
        spend_cap=None if (market.spend_cap >= 1.0).all() else market.spend_cap,
        report_rate=market.report_rate,
        fatigue=market.fatigue_rate > 0.0,
        reward=reward if isinstance(reward, bool) else Regret(prices, reward),
    )
    truth = Truth(hidden.traffic, hidden.log_price, hidden.conversion_rate, hidden.volume, hidden.ctr)
    parts = Parts(compiled_hour(library, cells, market), ledger.books, planner)
    flown = fly(library, parts, truth, terms, ledger.observe())
    ledger.end(flown.observation, flown.pending)
    return flown.reward
