"""A plan says where the compiled core does not draw its market's hours."""

from __future__ import annotations

import pytest

from gaelp_ray.core.library import Core
from gaelp_ray.sweep.planning import core as module
from gaelp_ray.sweep.planning.core import core_remarks
from gaelp_ray.sweep.planning.plan import plan_sweep

FILE = """\
method: grid
parameters: {dual.shade: {values: [0.0, 0.1]}}
trial: {agent_type: BayesDual}
"""


@pytest.fixture
def remarked(tmp_path, monkeypatch):
    """Remarks on a sweep with these settings, with the library or without."""

    def remarked(*settings: str, library: object | None = "a library") -> list[str]:
        core = Core(library, "c (x86-64-v3)" if library else "numpy (no compiled library)")
        monkeypatch.setattr(module, "load", lambda: core)
        monkeypatch.setattr(module, "implementation", lambda: core.name)
        path = tmp_path / "trip.yaml"
        path.write_text(FILE, encoding="utf-8")
        return list(core_remarks(plan_sweep(path, settings=settings)))

    return remarked


@pytest.mark.parametrize(
    "settings", [(), ("trial.market=ipinyou-display", "trial.auction=first_price"), ("trial.conversion_delay=24",)]
)
def test_no_market_is_remarked_where_the_core_is_compiled(remarked, settings):
    assert remarked(*settings) == []


def test_a_machine_without_the_library_is_told_what_to_install(remarked, monkeypatch):
    monkeypatch.delenv("GAELP_CORE", raising=False)
    (remark,) = remarked(library=None)
    assert remark.startswith(
        "the simulator runs in numpy (no compiled library): the same numbers, 9 to 28 times slower than C"
    )
    assert "gcc" in remark and "ziglang" in remark


def test_who_switched_the_library_off_is_told_how_to_switch_it_on(remarked, monkeypatch):
    monkeypatch.setenv("GAELP_CORE", "numpy")
    (remark,) = remarked(library=None)
    assert remark.endswith("Unset GAELP_CORE")
