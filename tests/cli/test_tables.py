"""What a person reads after a sweep, and what was in vain."""

from __future__ import annotations

import io

from rich.console import Console

from gaelp_ray.cli.tables import chosen, remarks
from gaelp_ray.sweep.planning.plan import plan_sweep


def shown(show, *arguments, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(*arguments, console)
    return console.file.getvalue()


def test_nothing_is_remarked_where_everything_applies(file):
    text = "method: grid\nparameters: {dual.shade: {values: [0.1]}}\ntrial: {agent_type: BayesDual}\n"
    assert shown(remarks, plan_sweep(file(text))) == ""


def test_what_a_choice_took_is_said():
    race = {"arms": 4, "rounds": 3, "flights": 2600, "budget": 8192, "error": 0.05, "attempt": 1}
    winner = {"search_score": 5.5, "reflown_score": 5.25, "shrinkage": 0.25}
    record = {"change": "the selected model changed", "race": race, "winner": winner, "metric": "delivered_roas"}
    assert list(chosen(record)) == [
        "changed: the selected model changed",
        "race: 4 arms, 3 rounds, 2,600 of 8,192 flights; among equals it calls a winner with probability 0.05 at most",
        "luck: +0.250 (delivered_roas 5.500 in the search, 5.250 on fresh flights)",
    ]
    assert "; confirmed at attempt 2" in next(
        chosen({"winner": winner, "race": race | {"attempt": 2}} | {"metric": "roas"})
    )
    lasting = {"search_advantage": 0.5, "fresh_advantage": 0.375, "shrinkage": 0.125}
    assert list(chosen({"winner": lasting, "metric": "roas", "score": "expected_delivered_roas"})) == [
        "luck: +0.125 of the advantage over the default configuration (expected_roas +0.500 in the search, +0.375 on "
        "fresh flights)"
    ]
    played = {"leader": "b", "flights": 512, "difference": 0.1, "low": 0.05, "high": 0.15, "verdict": "above"}
    beside = "play-off: b against the control arm on 512 fresh flights: "
    assert list(chosen({"winner": None, "play_off": played})) == [f"{beside}above (+0.100 [+0.050, +0.150])"]
    assert next(chosen({"winner": None, "play_off": played | {"verdict": "tie"}})).startswith(f"{beside}tie (+0.1")
    nothing = played | {"difference": None, "verdict": "ineligible"}
    assert next(chosen({"winner": None, "play_off": nothing})).startswith(f"{beside}undecided")
    assert list(chosen({"winner": None})) == list(chosen({"winner": {"trial": "a"}})) == []
