"""Surroundings of every test: no W&B account, no network, one thread."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

pytest_plugins = ["wandb_server.fixture", "compiled_core"]

SLOW_SECONDS = 1500.0
"""For a slow test, with its setup, unless it says otherwise: real sweeps, several at a time, on a busy machine."""

SHOP = """\
import gymnasium
import numpy as np


class Shop(gymnasium.Env):
    def __init__(self):
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(1.0, 9.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.day, self.cost, self.revenue = 0, 0.0, 0.0
        self.days = 2 + int(self.np_random.integers(4))
        return self.seen(), {}

    def step(self, action):
        self.day += 1
        earned = float(action[0]) * self.np_random.gamma(4.0, 0.5)
        self.cost += float(action[0])
        self.revenue += earned
        info = {"cost": self.cost, "revenue": self.revenue, "budget": 50.0}
        return self.seen(), earned / 50.0, self.day == self.days, False, info

    def seen(self):
        return np.array([self.day / 5.0, self.cost / 50.0], np.float32)
"""


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


@pytest.fixture(autouse=True, scope="session")
def offline_wandb():
    # Whoever runs the tests may have an account; no test may use it or ask a server.
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_ERROR_REPORTING="false", OMP_NUM_THREADS="1")


@pytest.fixture
def off(here, monkeypatch):
    """The working directory that a test's own room gives it, in which nothing of W&B is started."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return here


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Writes shop.py, an environment of flights of 2 to 5 days, into a new working directory; old text -> new text.

    Called again, it is another environment, and what was imported of the last one is forgotten.
    """
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)

    def forget():
        sys.modules.pop("shop", None)
        importlib.invalidate_caches()

    def write(changes=None):
        text = SHOP
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "shop.py").write_text(text, encoding="utf-8")
        forget()
        return tmp_path

    yield write
    forget()
