"""A comparison and a matrix of markets have whole numbers at any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gaelp_ray.cli.comparison import show_comparison
from gaelp_ray.cli.other_markets import other_markets

WIDTHS = (60, 80, 100, 112, 120, 124, 128, 160, 200)
PATH = "results/a-sweep-with-a-long-name-of-its-own/best"
SCORE = {"expected_delivered_roas": 10.368, "expected_delivered_roas_low": 10.23, "expected_delivered_roas_high": 10.5}
MEASURED = SCORE | {"estimator": "expected", "roas": 10.462, "delivery": 0.991, "optimality": 0.972}


def fits(lines: list[str], width: int) -> bool:
    """Only names of models and markets are shortened."""
    cut = [word for line in lines for word in line.split() if "…" in word]
    return all(len(line) <= width for line in lines) and all(word.endswith(("/best", "@nominal")) for word in cut)


@pytest.mark.parametrize("width", WIDTHS)
def test_comparison_has_whole_numbers_at_any_width(width):
    duel = {"difference": 0.178, "low": 0.034, "high": 0.325, "probability": 0.9912, "verdict": "above"}
    share = duel | {"difference": 0.001, "low": -0.002, "high": 0.004}
    models = [{"label": label, "model": PATH, "agent_type": "BayesDual", **MEASURED} for label in "AB"]
    pairs = [{"a": "A", "b": "B", "expected_delivered_roas": duel, "delivery": share, "optimality": share}]
    facts = {"episodes": 512, "market": "m", "models": models, "pairs": pairs, "confidence": 0.95, "best": "A"}
    console = Console(file=io.StringIO(), width=width)
    show_comparison(facts, console)
    _, _, a, b, _, _, pair, *_ = lines = console.file.getvalue().splitlines()
    assert fits(lines[:7], width)
    assert all("10.368  10.23 to 10.50" in line and line.split()[1].endswith("/best") for line in (a, b))
    assert "+0.178  +0.034 to +0.325" in pair and "above" in pair
    assert ("[-0.20, +0.40]" in pair) == (width >= 80)


@pytest.mark.parametrize("width", WIDTHS)
def test_other_markets_have_whole_numbers_at_any_width(width):
    versus = {"difference": 0.172, "low": 0.027, "high": 0.318, "verdict": "above"}
    found = {"arms": [{"trial": "a", **MEASURED}], "versus_default": versus, "versus_reference": versus}
    record = {"winner": {"trial": "a"}, "markets": {f"a-shop/{PATH}.yaml@nominal": found}}
    console = Console(file=io.StringIO(), width=width)
    other_markets(record, console)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 2 and fits(lines, width)
    assert "10.368  10.23 to 10.50" in lines[1]
    assert ("+0.172 [+0.027, +0.318] above" in lines[1]) == (width >= 112)
