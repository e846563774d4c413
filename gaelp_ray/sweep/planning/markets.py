"""The markets in which a sweep's best flies besides its own: `select: {markets: [kag-social@nominal, mine.yaml]}`.

Names are those of `gaelp-ray evaluate --market`. Of a sweep that has begun, copies of the files are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ConfigError, MarketError
from gaelp_ray.market import Market
from gaelp_ray.sweep.format.document import Problem
from gaelp_ray.sweep.format.load import Parsed
from gaelp_ray.sweep.format.spec import SweepSpec
from gaelp_ray.worlds import MARKET_FIELDS, market_named, market_of, other_channels, parts_of

HERE = ("select", "markets")


def other_markets(spec: SweepSpec, copies: Mapping[str, Path]) -> dict[str, Market]:
    """By name, in the order of the file, of a sweep file that has no market_problems()."""
    return {name: _named(name, copies) for name in spec.select.markets}


def _named(name: str, copies: Mapping[str, Path]) -> Market:
    file, ways = parts_of(name)
    return market_named(f"{copies.get(file, file)}{ways}")


def market_problems(parsed: Parsed, copies: Mapping[str, Path]) -> Iterator[Problem]:
    """What is wrong with the list: a market that is unknown, is given twice, or has other channels than the sweep's."""
    spec = parsed.spec
    names = spec.select.markets
    if names and spec.trial.get("env") is not None:
        yield Problem(HERE, "a sweep in an environment of your own has no other markets: leave the key out")
        return
    own = _own(spec) if names and not parsed.is_wrong("trial", "market") else None
    for number, name in enumerate(names):
        for text in _faults(name, names[:number], own, copies):
            yield Problem((*HERE, number), text)


def _faults(name: str, before: Sequence[str], own: Market | None, copies: Mapping[str, Path]) -> Iterator[str]:
    if name in before:
        yield f"{name} is given twice: keep one"
        return
    try:
        market = _named(name, copies)
    except MarketError as error:
        yield from str(error).splitlines()
        return
    if own and (others := other_channels(own, market)):
        yield f"the sweep's agents bid {others}: name a market with these channels in their order"


def _own(spec: SweepSpec) -> Market | None:
    """The sweep's market; None where the fields that decide it have problems of their own."""
    try:
        return market_of(
            GAELPExperimentConfig(**{name: spec.trial[name] for name in MARKET_FIELDS if name in spec.trial})
        )
    except (ConfigError, MarketError):
        return None
