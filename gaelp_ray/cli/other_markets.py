"""What a sweep's best earns in other markets, as a table below the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from gaelp_ray.cli.columns import NARROW, Column, print_table, shortened
from gaelp_ray.cli.scores import score_interval, score_of
from gaelp_ray.records import shown

Row = tuple[str, Mapping[str, Any]]  # the name of a market, and what selection.json has of it

MEASURED = ("score", "interval", "ROAS", "delivery", "optimality")
VERSUS = {"versus_default": "less the control arm", "versus_reference": "less BayesDual"}


def other_markets(record: Mapping[str, Any], console: Console) -> None:
    """From what selection.json holds; nothing where no market was named. Narrow terminals lose the differences."""
    markets, winner = record.get("markets"), record["winner"]
    if not markets or not winner:
        return
    columns: list[Column[Row]] = [
        Column("in other markets", lambda row: row[0], narrow=lambda row: shortened(row[0], NARROW)),
        *(Column(title, _measured(winner["trial"], n), n, right=True) for n, title in enumerate(MEASURED)),
        *(Column(title, _compared(key), 5 + n) for n, (key, title) in enumerate(VERSUS.items())),
    ]
    print_table(console, columns, list(markets.items()))


def _measured(trial: str, number: int) -> Callable[[Row], str]:
    """One figure of the arm that this trial is."""

    def cell(row: Row) -> str:
        found = [_figures(arm) for arm in row[1]["arms"] if arm["trial"] == trial]
        return found[0][number] if found else "could not be flown" * (number == 0)

    return cell


def _figures(arm: Mapping[str, Any]) -> tuple[str, ...]:
    interval = score_interval(arm)
    return (
        shown(score_of(arm), "{:.3f}"),
        f"{interval.low:.2f} to {interval.high:.2f}" if interval else "-",
        shown(arm["roas"], "{:.3f}"),
        shown(arm["delivery"], "{:.1%}"),
        shown(arm["optimality"], "{:.1%}"),
    )


def _compared(key: str) -> Callable[[Row], str]:
    """Such as `+0.172 [+0.027, +0.318] above`; empty where there is nothing to compare with."""

    def cell(row: Row) -> str:
        versus = row[1][key]
        if versus is None or versus["difference"] is None:
            return versus["verdict"] if versus else ""
        return f"{versus['difference']:+.3f} [{versus['low']:+.3f}, {versus['high']:+.3f}] {versus['verdict']}"

    return cell
