"""What makes the simulator slow on this machine; the numbers are the same."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gaelp_ray.core import implementation
from gaelp_ray.core.library import SWITCH, load
from gaelp_ray.market import Market
from gaelp_ray.sweep.planning.plan import SweepPlan


def core_remarks(plan: SweepPlan) -> Iterator[str]:
    """One line where the compiled core is missing; none for own environments."""
    if not isinstance(plan.market, Market):
        return
    if load().library is None:
        install = (
            "Install a C compiler (cc, gcc or clang) or make ziglang available to pip, then install gaelp_ray again"
        )
        remedy = f"Unset {SWITCH}" if os.environ.get(SWITCH) else install
        slower = "the same numbers, 9 to 28 times slower than C (decision 033)"
        yield f"the simulator runs in {implementation()}: {slower}. {remedy}"
