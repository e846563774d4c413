"""A plan names budgets that the market cannot take, and a metric that rewards spending less."""

from __future__ import annotations

import pytest
import yaml

from gaelp_ray.market import load_market
from gaelp_ray.sweep.planning.delivery import delivery_remarks, largest_delivery_of
from gaelp_ray.sweep.planning.plan import plan_sweep

SWEEP = {
    "name": "small",
    "method": "grid",
    "parameters": {"dual.shade": {"values": [0.0, 0.1]}},
    "trial": {"agent_type": "BayesDual"},
}


@pytest.fixture
def planned(tmp_path):
    def plan(budget_times: float = 1.0, **keys):
        data = load_market("airfrance-search").model_dump(mode="json")
        data["flight"]["budget"]["value"] *= budget_times
        (tmp_path / "market.yaml").write_text(yaml.safe_dump(data))
        trial = SWEEP["trial"] | {"market": str(tmp_path / "market.yaml")}
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(SWEEP | {"trial": trial, "storage": str(tmp_path)} | keys))
        return plan_sweep(tmp_path / "sweep.yaml")

    return plan


def test_budget_that_the_market_takes_is_not_remarked(planned):
    assert list(delivery_remarks(planned())) == []


def test_budget_too_large_for_the_market_is_named_with_both_remedies(planned):
    plan = planned(40.0)
    (remark,) = delivery_remarks(plan)
    largest = largest_delivery_of(plan)
    assert largest is not None and f"takes {largest:.1%} of its budgets, below 95%" in remark
    assert "`gaelp-ray calibrate --budget`" in remark
    lower = float(remark.rpartition("select.min_delivery=")[2].strip("`"))
    assert largest - 0.01 <= lower <= largest
    assert list(delivery_remarks(planned(40.0, select={"min_delivery": lower}))) == []


@pytest.mark.parametrize(("metric", "remarked"), [("roas", True), ("delivered_roas", False), ("optimality", False)])
def test_metric_that_rewards_spending_less_is_remarked(planned, metric, remarked):
    remarks = list(delivery_remarks(planned(metric={"name": metric, "goal": "maximize"})))
    assert bool(remarks) == remarked
    assert all("--set metric.name=delivered_roas" in remark for remark in remarks)
