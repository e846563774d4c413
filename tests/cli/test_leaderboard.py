"""The leaderboard at every width: whole numbers, one line for a trial, and what was left out is said."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gaelp_ray.cli.leaderboard import leaderboard
from gaelp_ray.cli.screen import UNBOUNDED

WIDTHS = (60, 80, 100, 112, 120, 124, 128, 160, 200)
SCORE = {"expected_delivered_roas": 10.368, "expected_delivered_roas_low": 10.233, "expected_delivered_roas_high": 10.5}
MEASURED = SCORE | {"estimator": "expected", "roas": 10.462, "delivery": 0.991, "optimality": 0.972}


def printed(rows: list[dict], width: int = 200, height: int = UNBOUNDED) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    leaderboard(rows, console, "roas_asha")
    return console.file.getvalue().splitlines()


def row(trial: str, role: str = "candidate", ineligible: str = "", **more) -> dict:
    measured = dict.fromkeys(MEASURED) if role == "not re-flown" else MEASURED
    rest = {"rank": 1, "agent": "PPO", "status": "completed", "search_score": 5.0, "error": ""}
    return {"trial": trial, "role": role, "ineligible": ineligible, **rest, **measured, **more}


def asha() -> list[dict]:
    """A sweep of 28 trials as selection.json has it: 5 finalists, the reference line, and 23 that were stopped."""
    rows = [row("roas_asha-default", "default", shrinkage=-0.03), row("BayesDual (reference)", "reference")]
    rows += [row(f"roas_asha-{n:02}", shrinkage=0.25, search_se=0.012, agent="BayesDual") for n in range(4)]
    rows[-1] |= {"dropped_round": 5, "dropped_by": "roas_asha-00"}
    stopped = {"status": "stopped", "error": "by the scheduler at iteration 4"}
    rows += [row(f"roas_asha-{n:02}", "not re-flown", **stopped) for n in range(4, 27)]
    return [one | {"rank": number} for number, one in enumerate(rows, 1)]


@pytest.mark.parametrize("width", WIDTHS)
def test_leaderboard_has_whole_numbers_and_a_line_per_trial_at_any_width(width):
    head, *lines = printed(asha(), width)
    table = [line for line in lines if line[:2].strip().isdigit() and ":" not in line[:6]]
    assert [int(line.split()[0]) for line in table] == list(range(1, 30))
    assert len(lines) <= len(table) + 5
    assert all(len(line) <= width for line in (head, *table))
    assert all("10.368" in line and "10.23 to 10.50" in line for line in table[:6])
    assert all("…" not in word or word[:2] == "…-" for line in (head, *table) for word in line.split())
    assert all(line.split()[1].endswith(f"-{number:02}") for number, line in enumerate(table[2:]))


@pytest.mark.parametrize("width", WIDTHS)
def test_leaderboard_says_why_trials_ended_at_any_width(width):
    text = "\n".join(printed(asha(), width))
    assert "stopped early: by the scheduler at iteration 4" in text
    assert "dropped in round 5 by roas_asha-00" in text


def test_leaderboard_has_more_columns_on_a_wider_terminal():
    score = ["score", "interval"]
    known = ["trial", "agent", "search", "luck", *score, "ROAS", "delivery", "optimality"]
    assert printed(asha(), 200)[0].split() == known
    assert printed(asha(), 80)[0].split() == ["trial", *score, "ROAS", "delivery", "optimality"]
    assert printed(asha(), 60)[0].split() == ["trial", *score, "ROAS", "delivery"]
    assert "●" in printed(asha(), 200)[1] and "●" not in printed(asha(), 100)[1]


@pytest.mark.parametrize("height", [12, 24, 40, 100])
def test_leaderboard_lists_what_a_screen_holds_and_names_the_rest(height):
    _, *lines = printed(asha(), 80, height)
    listed = sum(line[:2].strip().isdigit() and ":" not in line[:6] for line in lines)
    assert listed == min(max(6, height - 12), 29)
    assert len(lines) <= max(height, 12)
    hint = f"and {29 - listed} more trials: gaelp-ray show roas_asha --all"
    assert (lines[-1] == hint) == (listed < 29)


def test_leaderboard_footnotes_are_few_and_the_rest_is_counted():
    rows = [row(f"s-{n:02}", ineligible=f"cpa {213 + n} is above max_cpa 200", rank=n + 1) for n in range(7)]
    lines = printed(rows, 80)
    assert lines[9] == "1: not eligible: cpa 213 is above max_cpa 200"
    assert lines[-1] == "and 3 more reasons: gaelp-ray show roas_asha --all"
    assert len(lines) == 8 + 1 + 4 + 1


def test_leaderboard_prints_values_as_they_are_not_as_markup():
    lines = printed([row("[/bold]", agent="[red]", error="[/x]", status="failed", rank=1)])
    assert lines[1].split()[:3] == ["1", "[/bold]", "[red]"] and lines[1].endswith("failed: [/x]")


def test_leaderboard_says_who_was_dropped_and_how_much_was_luck():
    rows = [
        row("a", shrinkage=0.25),
        row("b", dropped_round=2, dropped_by="a"),
        row("c", dropped_round=1, dropped_by=""),
    ]
    head, a, b, c, legend = printed(rows)
    assert legend == "score: expected revenue / budget; ROAS: realised revenue / cost"
    assert "luck" in head and "+0.250" in a and "dropped" not in a
    assert "dropped in round 2 by a" in b and "dropped in round 1 by its bounds" in c


def test_leaderboard_says_what_an_arm_breaks():
    dear = "cpa 213.40 is above max_cpa 200"
    rows = [row("a"), row("b", ineligible=dear), row("c", "not re-flown", f"in validation, {dear}")]
    rows[0] |= {"expected_delivered_roas_low": 9.0}
    a, b, c = printed(rows)[1:4]
    assert "not eligible" not in a and "●" in a
    assert f"not eligible: {dear}" in b and "●" not in b
    assert f"not eligible: in validation, {dear}" in c


def test_leaderboard_of_an_earlier_version_shows_what_it_has():
    old = row("a")
    for name in SCORE:
        del old[name]
    del old["estimator"]
    assert printed([old])[1].split() == ["1", "a", "PPO", "5.000", "10.462", "99.1%", "97.2%"]
    realised = old | {"delivered_roas": 10.4, "delivered_roas_low": 10.2, "delivered_roas_high": 10.6}
    _, line, legend = printed([realised])
    assert line.split()[4:8] == ["10.400", "10.20", "to", "10.60"]
    assert legend == "score: realised revenue / budget; ROAS: realised revenue / cost"


def test_leaderboard_without_any_row_is_a_header():
    assert len(printed([])) == 1
