"""A resumed sweep says when it selects another model, and when its decision rests on less than the one before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gaelp_ray.checkpoint import DESCRIPTION
from gaelp_ray.sweep.outcome.previous_decision import PreviousDecision

ABOUT = {
    "trial": "small-03",
    "weights": {"kept": "last", "seed": 0},
    "selected": {"decision": "winner", "episodes": 16384},
}
BEFORE = PreviousDecision("small-03", ABOUT["weights"], "winner", 16384)


def record(trial: str | None, episodes: int = 2048, decision: str = "tie", **weights: Any) -> dict[str, Any]:
    winner = {"trial": trial, "weights": {"kept": "last", "seed": 0} | weights} if trial else None
    return {"winner": winner, "decision": decision if trial else "none", "episodes": episodes}


def test_previous_decision_is_read_from_the_model_of_the_sweep(tmp_path):
    (tmp_path / DESCRIPTION).write_text(json.dumps({"about": ABOUT}))
    assert PreviousDecision.of(tmp_path) == BEFORE


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"about": null}', json.dumps({"about": {"trial": "a"}})])
def test_previous_decision_is_none_without_a_model_that_tells_of_it(tmp_path, content):
    if content is not None:
        (tmp_path / DESCRIPTION).write_text(content)
    assert PreviousDecision.of(tmp_path) is None


@pytest.mark.parametrize("episodes", [2048, 16384])
def test_same_model_on_any_number_of_episodes_is_no_change(episodes):
    assert BEFORE.change(record("small-03", episodes), "results/small") == ""


def test_other_model_on_fewer_episodes_is_reported_with_the_way_back():
    assert BEFORE.change(record("small-default"), "results/small") == (
        "the selected model changed from small-03 (winner, 16,384 episodes per arm) to small-default (tie, 2,048 "
        "episodes per arm); the earlier decision rests on more episodes: to decide with as many, run "
        "`gaelp-ray resume results/small --set select.episodes=16384`"
    )


@pytest.mark.parametrize(
    "later", [record("small-04", 16384, "winner"), record("small-03", 16384, "winner", kept="best")]
)
def test_other_model_or_weights_on_as_many_episodes_are_reported(later):
    text = BEFORE.change(later, "results/small")
    assert text.startswith("the selected model changed from small-03 (winner, 16,384 episodes per arm) to small-0")
    assert "more episodes" not in text


def test_no_winner_any_more_is_reported():
    text = BEFORE.change(record(None), "results/small")
    assert text == "no model is selected any more; before: small-03 (winner, 16,384 episodes per arm)"
