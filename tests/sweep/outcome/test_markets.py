"""What is said of other markets: records, card and W&B summary, of flights whose numbers are known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.checkpoint import plain
from gaelp_ray.evidence.intervals import compare, summarise
from gaelp_ray.market import load_market
from gaelp_ray.records import PER_FLIGHT, Evaluation, FlightTotals
from gaelp_ray.results import Candidate, Selection
from gaelp_ray.sweep.outcome import markets, summary
from gaelp_ray.sweep.planning.plan import plan_sweep

NOMINAL, HARD = "airfrance-search@nominal", "airfrance-search@heterogeneity=1.0"


def flown(roas: float, delivery: float = 0.95, own: int = 0) -> Evaluation:
    common, luck = np.random.default_rng(1), np.random.default_rng([2, own])
    budget = common.uniform(80.0, 120.0, 64)
    cost = delivery * budget
    revenue = roas * cost * luck.normal(1.0, 0.01, 64)
    sums = {"cost": cost, "revenue": revenue, "expected_revenue": revenue, "budget": budget}
    return summarise(FlightTotals(steps=168, **{name: np.ones(64) for name in PER_FLIGHT} | sums), 0.9)


def arm(label: str, role: str, **found: Evaluation) -> Candidate:
    names = {"nominal": NOMINAL, "hard": HARD}
    return Candidate(label, role, flown(5.0), markets={names[key]: value for key, value in found.items()})


KEPT = arm("trip-03", "candidate", nominal=flown(6.0), hard=flown(4.0, own=3))
DEFAULT = arm("trip-default", "default", nominal=flown(5.0, own=1), hard=flown(4.5, own=4))
LINE = arm("line", "reference", nominal=flown(6.5, own=2), hard=flown(9.0, delivery=0.2))
OTHER = arm("trip-04", "candidate")


def selection(*arms: Candidate) -> Selection:
    return Selection(arms, {}, arms[0], "best", decision="winner")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "trip.yaml"
    path.write_text(
        "method: random\nrun_cap: 5\nparameters: {dual.shade: {min: 0.0, max: 2.0}}\n"
        f"select: {{episodes: 64, confidence: 0.9, markets: [{NOMINAL}, {HARD}]}}\n",
        encoding="utf-8",
    )
    return plan_sweep(path)


def test_every_market_has_the_arms_that_flew_there_and_its_hash(plan):
    record = markets.record(plan, selection(KEPT, LINE, DEFAULT, OTHER))
    assert list(record) == [NOMINAL, HARD]
    assert record[NOMINAL]["hash"] == load_market("airfrance-search").variant("nominal").hash
    rows = record[HARD]["arms"]
    assert [(row["trial"], row["role"]) for row in rows] == [
        ("trip-03", "candidate"),
        ("line", "reference"),
        ("trip-default", "default"),
    ]
    found = DEFAULT.markets[HARD]
    assert rows[2] == {
        "trial": "trip-default",
        "role": "default",
        "estimator": "realised",
        "roas": found.metrics.roas,
        "expected_delivered_roas": found.metrics.expected_delivered_roas,
        "expected_delivered_roas_low": found.score_interval.low,
        "expected_delivered_roas_high": found.score_interval.high,
        "roas_low": found.roas_interval.low,
        "roas_high": found.roas_interval.high,
        "delivery": found.metrics.delivery,
        "optimality": found.metrics.optimality,
        "cpa": found.metrics.cpa,
    }


def test_who_is_kept_is_compared_on_the_flights_of_the_market(plan):
    record = markets.record(plan, selection(KEPT, LINE, DEFAULT, OTHER))
    expected = compare(KEPT.markets[NOMINAL].totals, DEFAULT.markets[NOMINAL].totals, 0.9)
    assert record[NOMINAL]["versus_default"] == {
        "difference": expected.difference,
        "low": expected.interval.low,
        "high": expected.interval.high,
        "verdict": "above",
    }
    assert record[NOMINAL]["versus_reference"]["verdict"] == record[HARD]["versus_default"]["verdict"] == "below"
    assert record[HARD]["versus_default"]["difference"] == pytest.approx(-0.5, abs=0.05)


def test_arm_that_hardly_spends_is_compared_by_its_return_on_the_whole_budget(plan):
    idle = arm("trip-03", "candidate", hard=flown(80.0, delivery=0.01), nominal=flown(6.0))
    record = markets.record(plan, selection(idle, LINE, DEFAULT))
    assert record[HARD]["versus_reference"]["verdict"] == "below"


def test_a_control_arm_that_is_kept_is_compared_with_the_reference_line_alone(plan):
    record = markets.record(plan, selection(DEFAULT, LINE))
    assert record[NOMINAL]["versus_default"] is None and record[NOMINAL]["versus_reference"]["verdict"] == "below"


def test_an_arm_that_could_not_be_flown_is_left_out(plan):
    lost = arm("trip-03", "candidate", nominal=flown(6.0))
    record = markets.record(plan, selection(lost, DEFAULT))
    assert [row["trial"] for row in record[HARD]["arms"]] == ["trip-default"]
    assert record[HARD]["versus_default"] is record[HARD]["versus_reference"] is None
    assert HARD not in markets.section(plan, lost) and NOMINAL in markets.section(plan, lost)


def test_without_a_winner_nothing_was_flown(plan):
    assert markets.record(plan, replace(selection(DEFAULT), winner=None)) == {}


def test_selection_and_its_run_tell_of_them(plan):
    record = summary.selection_record(plan, selection(KEPT, LINE, DEFAULT), [])
    read = json.loads(json.dumps(plain(record), allow_nan=False))
    assert list(read["markets"]) == list(read["winner"]["markets"]) == [NOMINAL, HARD]
    found = KEPT.markets[HARD]
    assert read["winner"]["markets"][HARD] == json.loads(json.dumps(plain(found.as_dict())))
    logged = summary.run_summary(record)
    assert logged[f"markets/{HARD}/roas"] == found.metrics.roas != logged["winner/roas"]
    assert logged[f"markets/{HARD}/roas_low"] == found.roas_interval.low
    assert {f"markets/{NOMINAL}/{name}" for name in ("delivery", "optimality", "roas_high")} <= logged.keys()


def test_a_decision_of_an_earlier_version_has_none(plan):
    record = summary.selection_record(plan, selection(KEPT), [])
    del record["markets"], record["winner"]["markets"]
    assert not [name for name in summary.run_summary(record) if name.startswith("markets/")]


def test_card_has_a_row_for_each(plan):
    metrics, ends = KEPT.markets[HARD].metrics, KEPT.markets[HARD].score_interval
    text = markets.section(plan, KEPT)
    assert "64 fresh flights in each" in text
    row = (
        f"| `{HARD}` | {metrics.delivered_roas:.3f} (90% interval {ends.low:.3f} to {ends.high:.3f}) | "
        f"{metrics.roas:.3f} | 95.0% | {metrics.optimality:.1%} | {metrics.cpa:.2f} USD |\n"
    )
    assert text.endswith(row) and f"\n| `{NOMINAL}` | 5." in text
    assert markets.section(plan, OTHER) == ""
    card = summary.card(plan, selection(KEPT))
    assert f"Decision: best.\n{text}\n## Parameters" in card
    assert "Decision: best.\n\n## Parameters" in summary.card(plan, selection(OTHER))
