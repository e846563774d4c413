"""Nodes that join a cluster while a sweep runs: each is asked, and one that is no place for trials gets no more.

Start at Newcomers, Tune's callback, and at Elsewhere, the resources that a trial asks for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.tune import Callback, PlacementGroupFactory
from ray.util import placement_group
from ray.util.placement_group import PlacementGroup

from gaelp_ray.sweep.planning.errand import Errand, ask
from gaelp_ray.sweep.planning.nodes import alive, answer
from gaelp_ray.sweep.session import ASKED, AVOIDED, DriverOnly, elsewhere

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

LOOK_SECONDS = 2.0


class Elsewhere(PlacementGroupFactory):
    """What a trial asks for, on any node but those that are avoided, which may become more while it waits."""

    def to_placement_group(self) -> PlacementGroup:
        """Ask Ray for it."""
        others = elsewhere()
        if not others:
            return super().to_placement_group()
        return placement_group(self.bundles, self.strategy, bundle_label_selector=[others for _ in self.bundles])


class Newcomers(DriverOnly, Callback):
    """Asks every node that was not there at the start. `tell` hears of those that are no place for the sweep."""

    def __init__(self, errand: Errand, tell: Callable[[str], None]) -> None:
        AVOIDED.clear()
        self._errand, self._tell = errand, tell
        self._known = {node: name for node, name in alive().items() if node in ASKED}
        self._asked: dict[ray.ObjectRef[str], str] = {}
        self._next = 0.0

    def on_step_begin(self, iteration: int, trials: Sequence[Trial], **info: Any) -> None:
        """Tune is about to look at all trials once."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        names = alive()
        self._ask({node: name for node, name in names.items() if node not in self._known})
        self._known.update(names)
        answered, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0) if self._asked else ([], [])
        for reference in answered:
            self._heard(self._asked.pop(reference), answer(reference))

    def _ask(self, new: Mapping[str, str]) -> None:
        self._asked.update({ask(node, self._errand): node for node in new})

    def _heard(self, node: str, fault: str) -> None:
        if fault:
            AVOIDED.add(node)
            self._tell(f"node {self._known[node]} joined the cluster and gets no trials: {fault}")
