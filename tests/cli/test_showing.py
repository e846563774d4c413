"""The states of a sweep's trials, on a terminal that has no room for all columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gaelp_ray.cli.showing import print_states
from gaelp_ray.sweep.store.states import TrialState


@pytest.mark.parametrize(("width", "has_reason"), [(160, True), (80, False), (50, False)])
def test_show_lists_a_trial_per_line_and_says_where_the_reasons_are(width, has_reason):
    why = "stop.plateau: the best of the last 5 iterations is no better than before"
    states = [TrialState(f"roas_asha-{n:02}", "stopped", why, "", 4, 21504, ()) for n in range(28)]
    console = Console(file=io.StringIO(), width=width)
    print_states(states, console, "results/roas_asha")
    head, *rows = console.file.getvalue().splitlines()
    assert all("stopped" in line and "21,504" in line for line in rows[:28])
    assert ("why" in head.split()) == has_reason == (rows[0].endswith(why))
    assert rows[28:] == ([] if has_reason else ["why: gaelp-ray show results/roas_asha --all"])
