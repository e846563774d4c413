"""Arms as they travel to workers, and how they share flights; that workers fly them is shown by real sweeps."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray

from gaelp_ray.agents import make_agent, reference_bidder
from gaelp_ray.checkpoint import Model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.records import PER_FLIGHT
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.outcome import reflight
from gaelp_ray.sweep.outcome.reflight import LOST_WORKERS, Arm, fly_arms, fly_together
from gaelp_ray.training import fly_batch
from gaelp_ray.worlds import world_from

HOME = load_market("airfrance-search")
AWAY = HOME.variant("nominal", heterogeneity=1.0)


def revenue(arm: Arm) -> np.ndarray:
    """As a worker flies it."""
    return fly_together([arm], 16, [0, 9])[0].revenue


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


def arms_of(number: int) -> list[Arm]:
    """The reference bidder, and BayesDuals that differ in one constant."""
    configs = (GAELPExperimentConfig(agent_type="BayesDual", dual={"shade": 0.1 * n}) for n in range(1, number))
    market = HOME.model_dump(mode="json")
    return [Arm("0", market), *(Arm(str(n), market, c.to_dict(), market) for n, c in enumerate(configs, start=1))]


def assert_same(one, other):
    for name in PER_FLIGHT:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_arms_that_share_a_batch_have_the_flights_that_each_has_alone():
    arms = arms_of(3)
    together = fly_together(arms, 16, [3, 4, 0])
    for arm, totals in zip(arms, together, strict=True):
        assert_same(totals, fly_batch(arm.agent(world_from(arm.market, "")), HOME, 16, [3, 4, 0]))
    assert (together[1].cost != together[2].cost).any()


class Workers:
    """Ray in this process. `faulty`: labels of arms on which a task breaks off with this error."""

    def __init__(self, monkeypatch, cpus: float, faulty: dict[str, Exception] | None = None) -> None:
        self.tasks, self.faulty = [], faulty or {}
        fake = SimpleNamespace(put=lambda arm: arm, wait=lambda tasks, num_returns: (tasks[-1:], tasks[:-1]))
        fake.get, fake.exceptions = lambda task: task(), ray.exceptions
        monkeypatch.setattr(reflight, "ray", fake)
        monkeypatch.setattr(reflight, "_fly", SimpleNamespace(remote=self.remote))
        monkeypatch.setattr(reflight, "session_cpus", lambda: cpus)
        monkeypatch.setattr(reflight, "elsewhere", dict)

    def remote(self, flights, seeds, *arms):
        self.tasks.append((tuple(arm.label for arm in arms), seeds[-1]))

        def run():
            for arm in arms:
                if arm.label in self.faulty:
                    raise self.faulty[arm.label]
            return fly_together(arms, flights, seeds)

        return run


@pytest.fixture(scope="module")
def alone():
    """Flights of three arms, each batch and each arm by itself."""
    return {
        arm.label: [fly_together([arm], flights, [3, 4, n])[0] for n, flights in ((0, 16), (1, 8))]
        for arm in arms_of(3)
    }


@pytest.mark.parametrize(("cpus", "groups"), [(2.0, [("0", "1", "2")]), (4.0, [("0", "2"), ("1",)]), (64.0, None)])
def test_arms_have_the_same_flights_however_many_cores_there_are(monkeypatch, alone, cpus, groups):
    workers, told = Workers(monkeypatch, cpus), []
    flown, failed = fly_arms(arms_of(3), [(0, 16), (1, 8)], [3, 4], lambda *now: told.append(now))
    assert workers.tasks == [(group, n) for n in (0, 1) for group in groups or [("0",), ("1",), ("2",)]]
    assert failed == {} and list(flown) == ["0", "1", "2"]
    for label, totals in flown.items():
        assert_same(totals, type(totals).concatenate(alone[label]))
    assert told[0] == (0, 72) and told[-1] == (72, 72) and told == sorted(told)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ray.exceptions.RayTaskError("_fly", "...", ValueError("no")), "ValueError: no"),
        (ray.exceptions.WorkerCrashedError(), "WorkerCrashedError: The worker died unexpectedly"),
    ],
)
def test_an_arm_that_cannot_fly_is_reported_and_the_others_of_its_group_fly(monkeypatch, alone, error, reason):
    workers = Workers(monkeypatch, 1.0, {"1": error})
    flown, failed = fly_arms(arms_of(3), [(0, 16)], [3, 4], lambda *_: None)
    assert list(failed) == ["1"] and failed["1"].startswith(reason)
    assert workers.tasks == [(("0", "1", "2"), 0), (("0",), 0), (("1",), 0), (("2",), 0)]
    for label in ("0", "2"):
        assert_same(flown[label], alone[label][0])


def test_arms_fly_alone_in_an_environment_of_the_users_own(monkeypatch):
    Workers(monkeypatch, 1.0)
    world = OwnEnv(env="shop:Shop", folder="/nowhere").model_dump(mode="json")
    assert reflight._groups([Arm("a", world), Arm("b", world)], 1) == [["a"], ["b"]]


def test_tasks_whose_worker_is_lost_are_started_again():
    assert reflight._fly._default_options["max_retries"] == LOST_WORKERS


def test_no_arms_have_no_flights(monkeypatch):
    Workers(monkeypatch, 2.0)
    assert fly_arms([], [(0, 16)], [3, 4], lambda *_: None) == ({}, {})
