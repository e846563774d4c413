"""Markets for a person: headline figures, rules, conditions, where numbers come from, and how a calibration did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from gaelp_ray.market import Market
from gaelp_ray.market.headline import headline


def market_facts(market: Market) -> dict[str, Any]:
    """Headline figures and provenance of a market."""
    numbers = [source for _, source in market.provenance()]
    return {
        "name": market.name,
        "description": market.description,
        "currency": market.currency,
        "channels": market.channel_names,
        "auction": market.auction,
        "prices": market.prices.kind,
        "week": market.hour_of_week.source,
        "conditions": _conditions(market),
        "safety": {name: sourced["value"] for name, sourced in market.safety.model_dump().items()},
        **headline(market),
        "sources": dict(market.sources),
        "numbers_by_source": {source: numbers.count(source) for source in sorted(set(numbers))},
        "validation": market.validation.model_dump(mode="json") if market.validation else None,
        "hash": market.hash,
    }


def _conditions(market: Market) -> dict[str, Any]:
    """What makes the market harder than plain auctions; empty where nothing does."""
    found: dict[str, Any] = {}
    if market.conversion_delay:
        found["conversion_delay_mean_hours"] = market.conversion_delay.mean_hours.value
    if market.fatigue:
        found["fatigue_half_life"] = market.fatigue.half_life.value
    if market.spend_caps:
        found["spend_caps"] = dict(market.spend_caps.shares)
    return found


def markets_table(facts: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Markets with their headline figures and sources."""
    for market in facts:
        console.print(Text.assemble((market["name"], "bold"), f": {market['description']}"))
        console.print(
            f"  {len(market['channels'])} channels, historical ROAS {market['roas']:.2f}, CPC {market['cpc']:.2f} "
            f"{market['currency']}, conversion rate {market['conversion_rate']:.2%}",
            markup=False,
            highlight=False,
        )
        rule = market["auction"].replace("_", "-")
        named = ", ".join(f"{name} {value}" for name, value in market["conditions"].items())
        conditions = named or "no delay, fatigue or caps"
        console.print(
            f"  {rule} auctions, {market['prices']} prices, week of {market['week']}, {conditions}",
            markup=False,
            highlight=False,
        )
        if market["validation"]:
            console.print(f"  {_validated(market['validation'])}", markup=False, highlight=False)
        for key, text in market["sources"].items():
            console.print(f"  {key}: {text}", markup=False, highlight=False)
        counts = ", ".join(f"{n} from {source}" for source, n in market["numbers_by_source"].items())
        console.print(f"  numbers and blocks of numbers: {counts}", markup=False, highlight=False)


def _validated(validation: Mapping[str, Any]) -> str:
    """One line of how the calibration did: every error as a ratio to its noise floor."""
    names = {"ctr": "CTR", "cpc": "CPC", "conversion_rate": "conversion rate", "roas": "ROAS"}
    ratios = ((title, validation[name]["mae"]["ratio"]) for name, title in names.items())
    told = ", ".join(f"{title} {ratio:.2f}" for title, ratio in ratios if ratio is not None)
    return f"validated on held-out rows: mean error / noise floor {told}{_price_response(validation)}"


def _price_response(validation: Mapping[str, Any]) -> str:
    """How the price response did; empty for a market that was calibrated before it was tested."""
    response = validation.get("price_response")
    if response is None:
        return ""
    if response["not_tested"] is not None:
        return f"; price response: not tested ({response['not_tested']})"
    clicks, cpc = (response[name]["mae"]["ratio"] for name in ("clicks", "cpc"))
    return f"; price response: clicks {clicks:.2f}, CPC {cpc:.2f}"
