"""The composition of a reference bidder and a correcting policy, with policies that always say the same."""

import numpy as np
import pytest

from gaelp_ray.agents.base import FixedBidder
from gaelp_ray.agents.residual import Residual
from gaelp_ray.market import load_market, observation
from gaelp_ray.records import Rollout

LAND = load_market("airfrance-search").landscape
OBS = np.random.default_rng(0).standard_normal((3, observation.size(LAND.channels))).astype(np.float32)
SCALE = 0.3


class Always(FixedBidder):
    """Says one number on every channel, and remembers what it was shown and told."""

    def __init__(self, answer: float) -> None:
        self.answer = answer
        self.state = {"answer": np.array(answer)}
        self.begun: list[int] = []
        self.learned: list[Rollout] = []

    def begin(self, flights: int, rng: np.random.Generator) -> None:
        self.begun.append(flights)

    def act(self, obs: np.ndarray, explore: bool = False) -> np.ndarray:
        self.shown, self.explored = obs, explore
        return np.full((len(obs), LAND.channels), self.answer, np.float32)

    def update(self, rollout: Rollout) -> dict[str, float]:
        self.learned.append(rollout)
        return {"learning/answer": self.answer}

    def state_dict(self) -> dict[str, np.ndarray]:
        return self.state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        self.state = state


def composed(proposal: float | None, correction: float) -> tuple[Residual, Always | None, Always]:
    reference = None if proposal is None else Always(proposal)
    policy = Always(correction)
    residual = Residual(reference, policy, LAND, SCALE)
    residual.begin(len(OBS), np.random.default_rng(0))
    return residual, reference, policy


def test_no_correction_is_the_reference_itself():
    residual, _, _ = composed(-0.2, 0.0)
    np.testing.assert_array_equal(residual.act(OBS), np.full((3, LAND.channels), -0.2, np.float32))


@pytest.mark.parametrize(("correction", "factor"), [(1.0, SCALE), (-1.0, -SCALE), (0.5, SCALE / 2), (9.0, SCALE)])
def test_correction_is_a_log_factor_on_the_bid_up_to_the_scale(correction, factor):
    residual, reference, _ = composed(-0.2, correction)
    log_ratio = np.log(LAND.bids(residual.act(OBS)) / LAND.bids(reference.act(OBS)))
    np.testing.assert_allclose(log_ratio, factor, atol=1e-5)


@pytest.mark.parametrize(("proposal", "correction"), [(1.0, 1.0), (-1.0, -1.0)])
def test_corrected_bid_stays_within_reach(proposal, correction):
    residual, _, _ = composed(proposal, correction)
    np.testing.assert_array_equal(residual.act(OBS), np.full((3, LAND.channels), proposal, np.float32))


@pytest.mark.parametrize(("answer", "action"), [(0.4, 0.4), (3.0, 1.0), (-3.0, -1.0)])
def test_without_a_reference_the_policy_says_the_whole_bid(answer, action):
    residual, _, _ = composed(None, answer)
    np.testing.assert_array_equal(residual.act(OBS), np.full((3, LAND.channels), action, np.float32))


def test_policy_sees_the_observation_and_the_proposal():
    residual, reference, policy = composed(-0.2, 0.0)
    residual.act(OBS)
    assert policy.shown.shape[1] == Residual.observed(LAND, reference)
    np.testing.assert_array_equal(policy.shown, np.concatenate([OBS, reference.act(OBS)], axis=1))


def test_policy_without_a_reference_sees_the_observation_alone():
    residual, _, policy = composed(None, 0.0)
    residual.act(OBS)
    np.testing.assert_array_equal(policy.shown, OBS)
    assert Residual.observed(LAND, None) == OBS.shape[1]


@pytest.mark.parametrize("proposal", [None, -0.2])
def test_only_the_policy_explores(proposal):
    residual, reference, policy = composed(proposal, 0.0)
    residual.act(OBS, explore=True)
    assert policy.explored
    assert reference is None or not reference.explored


def test_both_begin_new_flights():
    residual, reference, policy = composed(-0.2, 0.0)
    residual.begin(5, np.random.default_rng(0))
    assert reference.begun == policy.begun == [3, 5]


def test_only_the_policy_learns():
    residual, reference, policy = composed(-0.2, 0.5)
    rollout = Rollout(OBS[None], OBS[None], np.zeros((1, 3)), np.ones((1, 3), bool), 0.0)
    assert residual.update(rollout) == {"learning/answer": 0.5}
    assert policy.learned == [rollout]
    assert reference.learned == []


def test_state_is_the_policys():
    residual, reference, policy = composed(-0.2, 0.5)
    assert residual.state_dict() is policy.state
    residual.load_state_dict({"answer": np.array(0.9)})
    assert policy.state == {"answer": np.array(0.9)}
    assert reference.state == {"answer": np.array(-0.2)}
