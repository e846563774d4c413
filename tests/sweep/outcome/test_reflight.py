"""Arms as they travel to workers; that they fly is shown by real sweeps."""

from pathlib import Path

import numpy as np
import pytest

from gaelp_ray.agents import make_agent, reference_bidder
from gaelp_ray.checkpoint import Model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.sweep.outcome.reflight import Arm
from gaelp_ray.training import fly_batch
from gaelp_ray.worlds import world_from

HOME = load_market("airfrance-search")
AWAY = HOME.variant("nominal", heterogeneity=1.0)


def revenue(arm: Arm) -> np.ndarray:
    """As a worker flies it."""
    return fly_batch(arm.agent(), world_from(arm.market, arm.label), 16, [0, 9]).revenue


@pytest.fixture
def model(tmp_path) -> Path:
    config = GAELPExperimentConfig(agent_type="BayesDual", dual={"optimism": 0.2})
    save_model(tmp_path / "model", Model(make_agent(config, HOME.landscape), config, HOME, {}))
    return tmp_path / "model"


def test_an_arm_keeps_its_beliefs_in_another_market(model):
    config = GAELPExperimentConfig(agent_type="BayesDual", dual={"optimism": 0.2})
    arm = Arm.from_checkpoint("a", model, HOME)
    away = arm.through(AWAY)
    assert world_from(arm.market, "a").hash == HOME.hash and world_from(away.market, "a").hash == AWAY.hash
    believing, knowing = (make_agent(config, market.landscape) for market in (HOME, AWAY))
    assert (revenue(away) == fly_batch(believing, AWAY, 16, [0, 9]).revenue).all()
    assert (revenue(away) != fly_batch(knowing, AWAY, 16, [0, 9]).revenue).any()


def test_a_reference_line_is_made_for_the_market_in_which_it_flies():
    away = Arm.reference("line", HOME).through(AWAY)
    assert away == Arm.reference("line", AWAY)
    assert (revenue(away) == fly_batch(reference_bidder(AWAY.landscape), AWAY, 16, [0, 9]).revenue).all()
