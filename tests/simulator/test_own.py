"""A user's own environment: found by its import path, and flown as a batch."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from gaelp_ray.errors import ActionError, OwnEnvError
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.training import flight_seed

BOX = "gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)"
ACTED = "gymnasium.spaces.Box(1.0, 9.0, (1,), np.float32)"
INFO = '"cost": self.cost, "revenue": self.revenue, "budget": 50.0'


@pytest.fixture
def env(shop):
    """The shop of this text, found in its folder."""

    def env(changes=None, path="shop:Shop"):
        return OwnEnv(env=path, folder=str(shop(changes)))

    return env


def fly(flights, action, seed=0):
    """Observations, rewards and ends of each step, to the end of all flights."""
    action = np.full((flights.num_envs, flights.actions), action, np.float32)
    steps = [(flights.reset(seed=seed)[0], None, np.zeros(flights.num_envs, bool))]
    while not steps[-1][2].all():
        assert len(steps) < 10
        obs, rewards, ended, cut, _ = flights.step(action)
        assert not cut.any()
        steps.append((obs, rewards, ended))
    return steps


def refusal(ask):
    """The one line of an OwnEnvError."""
    with pytest.raises(OwnEnvError) as refused:
        ask()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_flights_end_at_their_own_time_and_stay_as_they_are(env):
    steps = fly(env().flights(32), 0.0)
    lengths = np.array([ended for _, _, ended in steps]).argmax(axis=0)
    assert set(lengths) == {2, 3, 4, 5}
    for flight, length in enumerate(lengths):
        for obs, rewards, ended in steps[length + 1 :]:
            assert (rewards[flight], ended[flight]) == (0.0, True)
            np.testing.assert_array_equal(obs[flight], steps[length][0][flight])
        assert all(rewards[flight] > 0.0 for _, rewards, _ in steps[1 : length + 1])


def test_a_flight_that_is_truncated_has_ended(env):
    cut = fly(env({"self.day == self.days, False": "False, self.day == self.days"}).flights(8), 0.0)
    assert len(cut) == len(fly(env().flights(8), 0.0))


def test_totals_are_those_of_the_last_infos(env):
    flights = env().flights(32)
    steps = fly(flights, 0.0)
    totals = flights.totals()
    lengths = np.array([ended for _, _, ended in steps]).argmax(axis=0)
    np.testing.assert_allclose(totals.cost, 5.0 * lengths)
    np.testing.assert_allclose(totals.revenue, 50.0 * sum(rewards for _, rewards, _ in steps[1:]))
    np.testing.assert_array_equal(totals.expected_revenue, totals.revenue)
    assert totals.steps == lengths.max() and np.isnan(totals.oracle_revenue).all()
    pooled = totals.pooled()
    assert pooled.delivery == pytest.approx(pooled.cost / (32 * 50.0))
    assert np.isnan([pooled.optimality, pooled.cpa, pooled.ctr]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_action_that_is_not_finite_is_refused_by_episode_and_number(env, value):
    flights = env().flights(3)
    flights.reset(seed=1)
    actions = np.zeros((3, flights.spaces.actions), np.float32)
    actions[1, 0] = value
    with pytest.raises(ActionError, match=rf"episode 1, action 0: {value} is not finite: actions are numbers in"):
        flights.step(actions)


def test_every_number_of_the_last_info_is_used(env):
    given = {"clicks": 4, "impressions": 8, "conversions": 2, "expected_revenue": 3.0, "oracle_revenue": 6.0}
    flights = env({INFO: INFO + "".join(f', "{name}": {value}' for name, value in given.items())}).flights(2)
    fly(flights, 0.0)
    pooled = flights.totals().pooled()
    assert (pooled.ctr, pooled.conversion_rate, pooled.optimality) == (0.5, 0.5, 0.5)


def test_without_a_budget_there_is_no_delivery_and_roas_is_delivered(env):
    flights = env({', "budget": 50.0': ""}).flights(4)
    fly(flights, 0.0)
    pooled = flights.totals().pooled()
    assert np.isnan(pooled.delivery) and pooled.delivered_roas == pooled.roas > 0.0


def test_the_seed_decides_all_flights_and_not_their_number_alone(env):
    flights = env().flights(6)
    first, other, again = (fly(flights, 0.3, seed) for seed in (7, 8, 7))
    fresh = fly(env().flights(6), 0.3, 7)
    for steps in (again, fresh):
        assert len(steps) == len(first)
        for a, b in zip(first[1:], steps[1:], strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)
    assert not np.array_equal(first[1][1], other[1][1])
    assert len(set(first[1][1])) == 6  # flights of a batch are different ones
    fly(flights, 0.3, flight_seed([1, 2]))  # a whole 64-bit number


@pytest.mark.parametrize(("action", "bid"), [(-1.0, 1.0), (0.0, 5.0), (0.5, 7.0), (1.0, 9.0), (3.0, 9.0), (-3.0, 1.0)])
def test_actions_are_scaled_to_the_bounds_of_the_box(env, action, bid):
    flights = env().flights(2)
    flights.reset(seed=0)
    obs, *_ = flights.step(np.full((2, 1), action, np.float32))
    np.testing.assert_allclose(obs[:, 1] * 50.0, bid)


def test_an_action_is_always_within_its_box(env):
    box = "gymnasium.spaces.Box(np.array([-0.1, 0.0]), np.array([0.7, 1e-3]), dtype=np.float64)"
    check = "self.day += 1\n        assert self.action_space.contains(action), action"
    flights = env({ACTED: box, "self.day += 1": check, "float(action[0])": "1.0"}).flights(2)
    for action in (-1.0, 1.0, 0.123):
        fly(flights, action)


def test_observations_may_be_whole_numbers_and_are_copied(env):
    changes = {
        BOX: "gymnasium.spaces.Box(0, 255, (2,), np.uint8)\n        self.memory = np.zeros(2, np.uint8)",
        "return np.array([self.day / 5.0, self.cost / 50.0], np.float32)": "self.memory[0] = self.day\n"
        "        return self.memory",
    }
    steps = fly(env(changes).flights(1), 0.0)
    assert [obs[0, 0] for obs, _, _ in steps] == list(range(len(steps)))
    assert steps[0][0].dtype == np.float32


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("nowhere:Shop", "no module 'nowhere' in {folder}, nor among the installed packages: run in the folder"),
        ("nowhere.deep:Shop", "no module 'nowhere' in {folder}"),
        ("shop.deep:Shop", "no module 'shop.deep' in {folder}"),
        ("shop:Shp", "shop ({folder}/shop.py) has no 'Shp'. Did you mean 'Shop'?"),
        ("shop:np", "np of shop ({folder}/shop.py) is no class, but a module"),
    ],
)
def test_what_cannot_be_found_is_named_with_its_place(env, path, complaint):
    own = env(path=path)
    line = refusal(lambda: own.make)
    assert line.startswith(f"env '{path}': ")
    assert complaint.format(folder=own.folder) in line


@pytest.mark.parametrize(
    ("mistake", "complaint"),
    [
        ("import gymnasiom", "cannot import shop: ModuleNotFoundError: No module named 'gymnasiom' (shop.py:1)"),
        ("from math import bid", "cannot import shop: ImportError: cannot import name 'bid' from 'math'"),
        ("import gymnasium as", "cannot import shop: SyntaxError: "),
        ("prices = {}['a']", "cannot import shop: KeyError: 'a' (shop.py:1)"),
    ],
)
def test_a_module_that_breaks_is_named_with_the_line(env, mistake, complaint):
    own = env({"import gymnasium\n": f"{mistake}\nimport gymnasium\n"})
    assert complaint in refusal(lambda: own.make)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"(gymnasium.Env)": ""}, "makes a Shop, not a gymnasium.Env"),
        ({ACTED: "gymnasium.spaces.Discrete(3)"}, "the action space is Discrete(3), not a one-dimensional Box of"),
        ({ACTED: "gymnasium.spaces.Box(0, 9, (1,), np.int64)"}, "int64), not a one-dimensional Box of floats"),
        ({ACTED: "gymnasium.spaces.Box(0.0, 1.0, (1, 1))"}, "not a one-dimensional Box of floats: wrap the"),
        ({BOX: "gymnasium.spaces.Box(0.0, 1.0, (2, 2))"}, "observation space is Box(0.0, 1.0, (2, 2), float32), not a"),
        ({BOX: "gymnasium.spaces.Dict({'a': gymnasium.spaces.Discrete(2)})"}, "FlattenObservation"),
        ({f"self.action_space = {ACTED}": "pass"}, "the action space is None"),
        ({ACTED: "gymnasium.spaces.Box(0.0, np.inf, (1,))"}, "Box(0.0, inf, (1,), float32) is unbounded: give the Box"),
    ],
)  # fmt: skip
def test_spaces_that_do_not_fit_are_refused(env, changes, complaint):
    own = env(changes)
    assert complaint in refusal(lambda: own.flights(1))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({INFO: '"cost": self.cost, "sales": 3'}, "the last info of a flight has no 'revenue'; it has 'cost', 'sales'"),
        ({f"{{{INFO}}}": "{}"}, "the last info of a flight has no 'cost'; it has nothing"),
        ({'"cost": self.cost': '"cost": np.nan'}, "has cost nan, not a finite number of at least 0"),
        ({'"revenue": self.revenue': '"revenue": -2.5'}, "has revenue -2.5, not a finite number of at least 0"),
        ({'"budget": 50.0': '"budget": np.inf'}, "has budget inf, not"),
        ({'"budget": 50.0': '"oracle_revenue": np.nan'}, "has oracle_revenue nan, not"),
        ({'"budget": 50.0': '"clicks": "many"'}, "has clicks 'many', not"),
        ({INFO: INFO + "} if self.days > 3 else {" + INFO.replace(', "budget": 50.0', "")}, "of others has none"),
        ({"[self.day / 5.0, self.cost / 50.0]": "[self.day]"}, "reset() returns an observation of shape (1,); its"),
        ({"return self.seen(), earned": "return self.seen()[:1], earned"}, "step() returns an observation of shape"),
        ({"self.cost / 50.0]": "np.inf if self.day > 1 else 0.0]"}, "step 2 of a flight has inf in its observation"),
        ({"earned / 50.0": "np.nan"}, "step 1 of a flight has nan in its reward: every number must be finite"),
    ],
)  # fmt: skip
def test_numbers_that_nobody_could_learn_from_are_refused(env, changes, complaint):
    flights = env(changes).flights(8)

    def fly_and_sum():
        fly(flights, 0.0)
        flights.totals()

    assert complaint in refusal(fly_and_sum)


def test_the_hash_is_that_of_the_source_and_not_of_the_folder(env, tmp_path):
    before = env().hash
    assert re.fullmatch("[0-9a-f]{64}", before) and env().hash == before
    assert OwnEnv(env="shop:Shop", folder="").hash == before
    assert env({"gamma(4.0, 0.5)": "gamma(4.0, 0.6)"}).hash != before


def test_the_hash_knows_the_module_that_defines_what_another_one_names(env, tmp_path):
    (tmp_path / "mall.py").write_text("from shop import Shop\n", encoding="utf-8")
    try:
        first = env(path="mall:Shop").hash
        sys.modules.pop("mall")
        assert env({"gamma(4.0, 0.5)": "gamma(4.0, 0.6)"}, path="mall:Shop").hash != first
    finally:
        sys.modules.pop("mall", None)


def test_a_users_module_does_not_replace_an_installed_one(env, tmp_path):
    (tmp_path / "colorsys.py").write_text("Shop = int\n", encoding="utf-8")
    own = env(path="colorsys:Shop")
    assert "has no 'Shop'" in refusal(lambda: own.make)
