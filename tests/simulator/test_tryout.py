"""What a flight before the sweep finds out."""

from __future__ import annotations

import time

import pytest

from gaelp_ray.errors import OwnEnvError
from gaelp_ray.simulator import tryout
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.simulator.tryout import try_out

COUNT = "super().reset(seed=seed)\n        self.flown = getattr(self, 'flown', 0) + 1"


@pytest.fixture
def tried(shop):
    """The complaint about a shop of this text; None without one."""

    def tried(changes=None, path="shop:Shop"):
        own = OwnEnv(env=path, folder=str(shop(changes)))
        try:
            return try_out(own)
        except OwnEnvError as error:
            assert "\n" not in str(error)
            return str(error)

    return tried


def test_an_environment_that_fits_brings_no_complaint(tried):
    assert tried() is None
    assert tried({', "budget": 50.0': ""}) is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"def __init__(self):": "def __init__(self, size):"}, "TypeError: Shop.__init__() missing 1 required"),
        ({"self.day += 1": "self.days += self.dayz"}, "AttributeError: 'Shop' object has no attribute 'dayz' (shop"),
        ({"return self.seen(), {}": "return self.seen()"}, "reset() returns an observation of shape ()"),
        ({" == self.days, False, info": " == self.days, info"}, "ValueError: not enough values to unpack (expected 5"),
        ({'"revenue": self.revenue, ': ""}, "the last info of a flight has no 'revenue'"),
        ({"self.np_random.gamma": "np.random.default_rng().gamma"}, "reset(seed=...) does not decide a flight"),
        ({"super().reset(seed=seed)": "super().reset()"}, "flown again with the same seed and actions, "),
        ({"super().reset(seed=seed)": COUNT, "self.day / 5.0": "self.flown"}, "the first observation differs"),
        ({'"budget": 50.0': '"budget": 50.0 - self.cost'}, "the budget in the last info depends on the actions ("),
    ],
)  # fmt: skip
def test_a_mistake_is_found_by_flying(tried, changes, complaint):
    assert complaint in (tried(changes) or "")


def test_a_flight_without_an_end_costs_moments_only(tried, monkeypatch):
    monkeypatch.setattr(tryout, "PATIENCE", 0.1)
    started = time.monotonic()
    assert tried({"self.day == self.days": "False"}) is None
    assert time.monotonic() - started < 20
