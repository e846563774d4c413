"""The final stage, flown through a sky of known truths."""

from __future__ import annotations

import pytest
from synthetic_sky import Sky

from gaelp_ray.sweep.listener import Silence
from gaelp_ray.sweep.outcome import elsewhere, final
from gaelp_ray.sweep.outcome.final import final_stage
from gaelp_ray.sweep.outcome.reflight import Arm
from gaelp_ray.sweep.planning.plan import plan_sweep

SELECT = "{top_k: 2, episodes: 512}"


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """The final stage of a sweep with these truths."""

    def run(sky: Sky, trials, select: str = SELECT, listener=None):
        for module in (final, elsewhere):
            monkeypatch.setattr(module, "fly_arms", sky.fly)
        monkeypatch.setattr(final.Arm, "from_checkpoint", sky.load)
        monkeypatch.setattr(final.Arm, "reference", lambda label, market: Arm(label, {}))
        path = tmp_path / "trip.yaml"
        text = "method: random\nrun_cap: 5\nparameters: {dual.shade: {min: 0.0, max: 2.0}}\n"
        path.write_text(f"{text}select: {select}\n", encoding="utf-8")
        return final_stage(plan_sweep(path), trials, listener or Silence())

    return run
