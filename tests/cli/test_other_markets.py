"""The table of other markets below a leaderboard, from what selection.json holds."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gaelp_ray.cli.other_markets import other_markets
from gaelp_ray.sweep.store.folder import SweepFolder


def shown(record: dict, width: int = 160) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    other_markets(record, console)
    return console.file.getvalue().splitlines()


def row(trial: str, roas: float | None) -> dict:
    score = {"expected_delivered_roas": roas, "expected_delivered_roas_low": 4.0, "expected_delivered_roas_high": 6.25}
    return {"trial": trial, **score, "roas": 5.25, "delivery": 0.987, "optimality": 0.9}


NOMINAL = {
    "arms": [row("line", 9.0), row("a", 5.125)],
    "versus_default": {"difference": 0.1, "low": -0.05, "high": 0.25, "verdict": "tie"},
    "versus_reference": {"difference": None, "low": None, "high": None, "verdict": "undelivered"},
}
RECORD = {"winner": {"trial": "a"}, "markets": {"shop[red].yaml@nominal": NOMINAL}}


def test_every_market_has_a_row_of_who_is_kept_and_its_differences():
    head, line = shown(RECORD)
    assert head.split("  ")[0] == "in other markets"
    assert "less the control arm" in head and "less BayesDual" in head
    assert line.split() == [
        *("shop[red].yaml@nominal", "5.125", "4.00", "to", "6.25", "5.250", "98.7%", "90.0%"),
        *("+0.100", "[-0.050,", "+0.250]", "tie", "undelivered"),
    ]


def test_a_narrow_terminal_shows_no_differences():
    assert "less" in shown(RECORD | {"markets": {"x": NOMINAL | {"versus_default": None}}})[0]
    head, line = shown(RECORD, width=80)
    assert "less" not in head and "tie" not in line and "98.7%" in line


def test_where_there_is_nobody_to_compare_with_nothing_is_said():
    alone = {"arms": [row("a", None)], "versus_default": None, "versus_reference": None}
    head, line = shown({**RECORD, "markets": {"x": alone}})
    assert "less" not in head and line.split() == ["x", "-", "4.00", "to", "6.25", "5.250", "98.7%", "90.0%"]


def test_a_model_that_could_not_be_flown_there_is_told():
    lost = NOMINAL | {"arms": [row("line", 9.0)], "versus_default": None}
    assert shown({**RECORD, "markets": {"x": lost}})[1].startswith("x")
    assert "could not be flown" in shown({**RECORD, "markets": {"x": lost}})[1]


@pytest.mark.parametrize("record", [{"winner": {"trial": "a"}}, RECORD | {"winner": None}, RECORD | {"markets": {}}])
def test_without_other_markets_there_is_no_table(record):
    assert shown(record) == []


@pytest.mark.parametrize("command", ["show", "resume"])
@pytest.mark.parametrize("record", [RECORD, {"winner": {"trial": "a"}}], ids=["named", "of an earlier version"])
def test_it_is_shown_below_the_leaderboard_of_a_finished_sweep(tmp_path, gaelp_ray, monkeypatch, command, record):
    monkeypatch.chdir(tmp_path)
    folder = SweepFolder.new(tmp_path / "results", "trip")
    folder.path.mkdir(parents=True)
    folder.write_start({"name": "trip"}, {})
    folder.write_end({"reason": "best", "metric": "roas", "leaderboard": [], **record}, [{"rank": 1}])
    code, out, _ = gaelp_ray(command, "trip")
    assert code == 0 and ("+0.100 [-0.050, +0.250] tie" in out) == ("markets" in record)
