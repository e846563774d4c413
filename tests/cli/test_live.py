"""The table of a running sweep fits the terminal, and leaves nothing behind on it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from terminal import Terminal

from gaelp_ray.cli.live import LiveSweep
from gaelp_ray.records import SCORE
from gaelp_ray.sweep.listener import EPISODES
from gaelp_ray.sweep.planning.plan import plan_sweep

SWEEP = """\
name: roas_asha-of-many
method: random
run_cap: 27
metric: {name: delivered_roas, goal: maximize}
parameters: {dual.shade: {min: 0.0, max: 0.5}}
trial: {agent_type: BayesDual, num_episodes: 32, batch_size: 16}
"""
TRAINING = {"iterations": 1, SCORE: 10.5, "delivery": 0.991, "optimality": 0.952, "seconds": 1.5}


def report(score: float | None) -> dict:
    """As a trial's report is: its validation flights are None until its last one."""
    validation = None if score is None else {**TRAINING, SCORE: score}
    return TRAINING | {"agent_type": "BayesDual", "validation": validation}


@pytest.fixture
def plan(file):
    return plan_sweep(file(SWEEP))


def live_on(console: Console, plan, ended: int, running: int = 2) -> LiveSweep:
    live = LiveSweep(plan, console)
    names = [trial.name for trial in plan.trials]
    for number, name in enumerate(names[:ended]):
        live.trial_changed(name, "stopped" if number % 2 else "completed", report(None if number % 2 else number))
    for name in names[ended : ended + running]:
        live.trial_changed(name, "running", report(None))
    return live


def frame(live: LiveSweep, console: Console) -> list[str]:
    console.file = io.StringIO()
    console.print(live.renderable())
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 12), (120, 40), (40, 8)])
@pytest.mark.parametrize("ended", [0, 5, 26])
def test_live_table_of_28_trials_fits_with_its_phase_and_bar(plan, width, height, ended):
    console = Console(file=io.StringIO(), width=width, height=height)
    live = live_on(console, plan, ended)
    live.stage("final stage: race", 3, 8)
    lines = frame(live, console)
    assert len(lines) < height  # the cursor's line is below
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("2 running")
    assert lines[-2].startswith("final stage: race  3/8") and set(lines[-1]) <= set("━╸╺ ")


def test_live_table_has_running_trials_first_and_the_best_so_far(plan):
    console = Console(file=io.StringIO(), width=80, height=24)
    counts, best, head, first, second, third, *_ = frame(live_on(console, plan, 20), console)
    assert counts == "2 running, 10 completed, 10 stopped, 6 waiting"
    assert best == "best so far roas_asha-of-many-17: expected_delivered_roas 18.000"
    assert head.split()[:3] == ["trial", "agent", "state"] and "…" not in head
    assert {first.split()[0], second.split()[0]} == {"…-19", "…-20"}  # the control arm is the first of all
    assert (first.split()[2], third.split()[2]) == ("running", "completed")
    assert "10.500" in first and "99.1%" in first


def test_live_table_leaves_no_row_behind_when_it_shrinks_and_ends(plan):
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)
    live = LiveSweep(plan, console)
    with live:
        for number, trial in enumerate(plan.trials):
            live.trial_changed(trial.name, "running", report(None))
            live.note(f"note {number}")  # above the table, which is drawn anew below it
        for trial in plan.trials:
            live.trial_changed(trial.name, "not started", {})  # the table shrinks to its phase and bar
        live.note("the end")
    screen = Terminal(24)
    screen.write(console.file.getvalue())
    shown = [line for line in screen.lines if line.strip() and "does not apply" not in line]
    assert shown == [*(f"note {number}" for number in range(28)), "the end"]


def test_live_on_a_pipe_says_each_end_in_a_line_with_the_whole_name(plan):
    console = Console(file=io.StringIO(), width=40)
    live_on(console, plan, 2, running=0)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("[")]
    assert lines == [
        "[1/28] roas_asha-of-many-default BayesDual completed 1/2 0.000 99.1% 95.2% 1.5",
        "[2/28] roas_asha-of-many-00 BayesDual stopped 1/2 10.500 99.1% 95.2% 1.5",
    ]


def test_live_says_how_many_episodes_a_second_a_stage_flies(plan, monkeypatch):
    console, seconds = Console(file=io.StringIO(), width=80), iter(range(100))
    live = LiveSweep(plan, console)
    monkeypatch.setattr("gaelp_ray.tracking.bar.time.monotonic", lambda: next(seconds))
    for done in (0, 0, 3072, 6144):
        live.stage("racing the best", done, 6144, EPISODES)
    live.stage("publishing", 1, 1)
    assert console.file.getvalue().splitlines() == [
        "racing the best: 0/6,144 episodes",
        "racing the best: 6,144/6,144 episodes, 3,100 episodes/s",
        "publishing: 1/1",
    ]
