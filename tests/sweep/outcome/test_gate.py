"""Whether a model becomes the best: what common flights say, and which flights these are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from judged_models import save
from synthetic_arms import Field, Truth

from gaelp_ray.checkpoint import DESCRIPTION, load_model
from gaelp_ray.market import load_market
from gaelp_ray.records import Interval
from gaelp_ray.results import Comparison
from gaelp_ray.sweep.outcome import gate
from gaelp_ray.sweep.outcome.eligibility import Eligibility
from gaelp_ray.sweep.outcome.gate import Gate, Rules, identity, judged
from gaelp_ray.sweep.planning.constraints import constraints_of
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.tracking.promotion import Incumbent
from gaelp_ray.training import Stream, evaluate, evaluate_all

GOOD, BAD = {"agent_type": "BayesDual"}, {"agent_type": "constant", "constant": {"bid_multiplier": 1.5}}
IDLE = {"agent_type": "constant", "constant": {"bid_multiplier": 0.02}}
EARNED = {"roas": 5.0, "cpa": 30.0, "optimality": None}
OLD = "team/demo/trip-best:v3"


def rules(regression: bool = True, **bounds: float) -> Rules:
    return Rules(Eligibility(0.9, constraints_of(bounds)), 0.95, regression)


def ruled(new: Truth, present: Truth, by: Rules | None = None, flights: int = 256):
    flown = Field({"new": new, "present": present}, 1).fly(["new", "present"], 0, flights)
    return judged(flown["new"], flown["present"], by or rules(), OLD)


@pytest.mark.parametrize(
    ("roas", "promoted", "passed", "verdict", "words"),
    [
        (6.0, True, True, "above", f"above {OLD} (+"),
        (5.0, False, True, "tie", f"a tie with {OLD} ("),
        (4.0, False, False, "below", f"below {OLD} (-"),
    ],
)
def test_the_alias_moves_to_who_is_above(roas, promoted, passed, verdict, words):
    found = ruled(Truth(roas), Truth(5.0))
    assert (found.promoted, found.passed, found.against) == (promoted, passed, OLD)
    assert found.reason.startswith(words) and found.reason.endswith("on 256 common flights")
    assert found.comparison is not None and found.comparison.verdict == verdict
    told = found.as_dict()
    assert told["low"] < told["difference"] < told["high"] and told["verdict"] == verdict


def test_without_the_rule_a_regression_passes_and_moves_nothing():
    found = ruled(Truth(4.0), Truth(5.0), rules(regression=False))
    assert (found.promoted, found.passed) == (False, True) and found.reason.startswith("below")


def test_the_interval_is_that_of_the_confidence():
    sure, hardly = (
        ruled(Truth(5.05), Truth(5.0), replace(rules(), confidence=confidence)) for confidence in (0.999, 0.6)
    )
    assert sure.comparison is not None and hardly.comparison is not None
    width = [one.comparison.interval.high - one.comparison.interval.low for one in (sure, hardly)]
    assert width[0] > 2 * width[1]


def test_a_best_that_does_not_deliver_makes_room_for_one_that_does():
    found = ruled(Truth(4.0), Truth(9.0, delivery=0.1))
    assert (found.promoted, found.passed, found.as_dict()["verdict"]) == (True, True, "above")
    assert found.reason.startswith(f"{OLD} may not stay the best: on 256 common flights, delivers ")


def test_a_best_that_breaks_a_constraint_makes_room_for_one_that_keeps_it():
    found = ruled(Truth(4.0), Truth(5.0), rules(max_roas=4.5))
    assert (found.promoted, found.passed) == (True, True)
    assert "roas 4.95 is above max_roas 4.5" in found.reason
    assert found.comparison is not None and found.comparison.verdict == "below"


def test_a_model_that_does_not_deliver_there_is_not_the_best():
    found = ruled(Truth(9.0, delivery=0.1), Truth(5.0))
    assert (found.promoted, found.passed, found.as_dict()["verdict"]) == (False, False, "below")
    assert found.reason.startswith("it may not be the best: on 256 common flights, delivers ")


@pytest.mark.parametrize(("roas", "bound", "passed"), [(9.0, {"max_roas": 8.0}, True), (4.0, {"min_roas": 4.5}, False)])
def test_a_model_that_breaks_a_constraint_there_is_not_the_best_and_may_be_a_regression(roas, bound, passed):
    found = ruled(Truth(roas), Truth(5.0), rules(**bound))
    assert (found.promoted, found.passed) == (False, passed) and next(iter(bound)) in found.reason


def test_where_neither_may_be_the_best_nothing_moves_and_nothing_is_a_regression():
    found = ruled(Truth(4.0), Truth(5.0), rules(max_roas=3.0))
    assert (found.promoted, found.passed) == (False, True)
    assert found.reason.startswith(f"it may not be the best, as little as {OLD}: ")
    found = ruled(Truth(9.0, delivery=0.1), Truth(5.0, delivery=0.1))
    assert (found.promoted, found.passed, found.as_dict()["verdict"]) == (False, True, "above")


def test_flights_with_other_budgets_are_not_compared():
    flown = Field({"a": Truth(5.0)}, 1).fly(["a"], 0, 64)["a"]
    found = judged(replace(flown, budget=flown.budget * 2), flown, rules(), OLD)
    assert (found.promoted, found.passed) == (False, True) and "other budgets" in found.reason


@pytest.fixture
def made(tmp_path):
    """Makes the gate of a sweep file whose winner has these fields."""

    def make(winner=None, publish=None, **keys) -> Gate:
        path = tmp_path / "trip.yaml"
        file = {"method": "grid", "parameters": {"batch_size": {"values": [16]}}, "select": {"episodes": 32}, "seed": 7}
        path.write_text(yaml.safe_dump(file | keys | ({"publish": publish} if publish is not None else {})))
        return Gate(plan_sweep(path), save(str(tmp_path / "new"), **(GOOD if winner is None else winner)), EARNED)

    return make


@pytest.fixture
def old(tmp_path):
    def make(world=None, **fields) -> Incumbent:
        return Incumbent(OLD, save(str(tmp_path / "old"), world, **fields))

    return make


def test_bounds_are_judged_by_the_confirmed_numbers(made):
    assert made(publish={"gate": {"constraints": {"min_roas": 5.0, "max_cpa": 30}}}).alone() is None
    refused = made(publish={"gate": {"constraints": {"min_roas": 5.5, "max_cpa": 20}}}).alone()
    assert refused is not None and (refused.promoted, refused.passed) == (False, False)
    assert refused.reason == "cpa 30.00 is above max_cpa 20 and roas 5.00 is below min_roas 5.5"
    unmeasured = made(publish={"gate": {"constraints": {"min_optimality": 0.5}}}).alone()
    assert unmeasured is not None and unmeasured.reason == "optimality was not measured (min_optimality 0.5)"
    assert made(publish={"gate": {}}).alone() is None and made().alone() is None


def test_without_the_present_best_the_bounds_have_the_word(made):
    assert made().unjudged("no server") is None
    waits = made(publish={"gate": {"constraints": {"min_roas": 4.5}}}).unjudged("no server")
    assert waits is not None and (waits.promoted, waits.passed) == (False, True)
    assert waits.reason == "keeps min_roas 4.5; not compared with the present best: no server"
    broken = made(publish={"gate": {"constraints": {"min_roas": 9}}}).unjudged("no server")
    assert broken is not None and (broken.passed, broken.reason) == (False, "roas 5.00 is below min_roas 9")


def test_the_first_is_the_best(made):
    first = made().against(None)
    assert (first.promoted, first.passed, first.against) == (True, True, None)


def test_the_same_model_moves_nothing_and_flies_nothing(made, old, monkeypatch):
    monkeypatch.setattr(gate, "evaluate_all", None)
    found = made().against(old(**GOOD, about={"sweep": "another"}))
    assert (found.promoted, found.passed, found.reason) == (False, True, f"{OLD} is the same model")


def test_a_model_is_its_weights_its_configuration_and_its_beliefs(tmp_path):
    ids = [
        identity(save(str(tmp_path / "a"), **BAD)),
        identity(save(str(tmp_path / "b"), **IDLE)),  # their arrays are the same: they have none
        identity(save(str(tmp_path / "c"), load_market("airfrance-search").variant("nominal", None), **BAD)),
    ]
    assert len(set(ids)) == 3
    folder = save(str(tmp_path / "d"), **BAD)
    description = json.loads((folder / DESCRIPTION).read_text())
    description["config"]["market"] = "/elsewhere/airfrance.yaml"  # the market itself is hashed
    (folder / DESCRIPTION).write_text(json.dumps(description))
    assert identity(folder) == ids[0]
    (folder / DESCRIPTION).write_text(json.dumps(description | {"sha256": "another"}))
    assert identity(folder) != ids[0]


def test_both_fly_the_sweeps_market_on_flights_that_only_this_pair_has(made, old, monkeypatch):
    seen = []

    def fly(agents, world, episodes, seeds, confidence):
        seen.append((world.name, episodes, seeds, confidence))
        return evaluate_all(agents, world, episodes, seeds, confidence)

    monkeypatch.setattr(gate, "evaluate_all", fly)
    found = made(BAD, select={"episodes": 48, "confidence": 0.9}).against(old(**GOOD))
    assert (found.promoted, found.passed) == (False, True)  # the file has no gate
    assert found.reason.startswith("below") and found.reason.endswith("48 common flights")
    assert seen[0][:2] == ("airfrance-search", 48) and seen[0][3] == 0.9
    assert seen[0][2][:2] == [7, Stream.GATE] and len(seen[0][2]) == 3
    agents = [load_model(folder).agent for folder in (made(BAD).folder, old(**GOOD).folder)]
    totals = [evaluate(agent, made().plan.market, 48, seen[0][2]).totals for agent in agents]
    scores = [flown.pooled().expected_delivered_roas for flown in totals]
    assert found.comparison is not None and found.comparison.difference == pytest.approx(scores[0] - scores[1])

    made(BAD).against(old(**GOOD))
    made(GOOD).against(old(**BAD))
    made(BAD).against(old(**IDLE))
    pairs = [seeds[2] for _, _, seeds, _ in seen]
    assert pairs[0] == pairs[1] == pairs[2] != pairs[3]  # the same pair flies the same, whoever of them is new


def test_with_a_gate_a_regression_holds_a_pipeline_up(made, old):
    assert not made(BAD, {"gate": {}}).against(old(**GOOD)).passed
    assert made(BAD, {"gate": {"regression": False}}).against(old(**GOOD)).passed
    better = made(GOOD, {"gate": {}}).against(old(**BAD))
    assert (better.promoted, better.passed) == (True, True)


def test_a_best_that_delivers_too_little_by_the_sweeps_own_rule_goes(made, old):
    assert made(BAD).against(old(**IDLE)).promoted
    lax = made(BAD, select={"episodes": 32, "min_delivery": 0.0}).against(old(**IDLE))
    assert lax.promoted and lax.reason.startswith("above")


def test_a_best_that_breaks_a_constraint_of_the_sweep_goes(made, old):
    worse = made(BAD).against(old(**GOOD))
    assert not worse.promoted and worse.comparison is not None
    bound = {"episodes": 32, "constraints": {"max_optimality": 0.93}}
    found = made(BAD, select=bound).against(old(**GOOD))
    assert found.promoted and "is above max_optimality 0.93" in found.reason
    assert found.comparison == worse.comparison


def refuses(found, *words):
    assert (found.promoted, found.passed, found.comparison) == (False, True, None)
    assert found.reason.startswith(f"{OLD} cannot be compared (") and "\n" not in found.reason
    assert found.reason.endswith("publish under the name of another sweep, or move the alias by hand in W&B")
    for word in words:
        assert word in found.reason


def test_a_best_that_cannot_fly_here_stays_and_it_is_said_why(made, old, monkeypatch):
    asked = made(publish={"gate": {}})
    refuses(asked.against(Incumbent(OLD, None, "it has format 2")), "it has format 2")
    refuses(asked.against(old(load_market("kag-social"), **BAD)), "it bids for the")
    broken = old(**BAD)
    (broken.folder / "model.npz").write_bytes(b"other weights")
    refuses(asked.against(broken), "is damaged")


def test_an_own_environment_and_a_market_are_not_compared(made, old, shop, monkeypatch):
    shop()
    file = {"trial": {"env": "shop:Shop", "agent_type": "PPO", "ppo.reference": "none"}}
    refuses(
        made(BAD, {"gate": {}}, **file).against(old(**GOOD)),
        "it flies in 'airfrance-search', the sweep in 'shop:Shop'",
    )


def test_the_words_of_a_comparison_have_signs(monkeypatch):
    found = Comparison(-0.5, Interval(-0.75, -0.25))
    assert gate._in_words(found, OLD) == f"below {OLD} (-0.500 [-0.750, -0.250])"
    assert np.isclose(found.difference, -0.5)
