"""What a listener is told of a trial when the search ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.store.journal import End
from gaelp_ray.sweep.trials.watch import Watch


@pytest.mark.parametrize(
    ("started", "end", "state"),
    [
        (True, End("completed"), TrialStatus.COMPLETED),
        (True, None, TrialStatus.INTERRUPTED),
        (False, None, TrialStatus.NOT_STARTED),
    ],
)
def test_a_trial_that_no_worker_had_when_the_search_ends_has_not_started(started, end, state):
    told = []
    listener = SimpleNamespace(trial_changed=lambda name, state, result: told.append((name, state)))
    watch = Watch(SimpleNamespace(listener=listener, ends={"trip-00": end} if end else {}), None)
    trial = SimpleNamespace(config={"trial": {"name": "trip-00", "config": {"agent_type": "PPO"}}}, last_result=None)
    if started:
        watch.on_trial_start(1, [trial], trial)
    watch.on_trial_complete(1, [trial], trial)
    assert told[-1] == ("trip-00", str(state))
