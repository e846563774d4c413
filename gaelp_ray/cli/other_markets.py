"""What a sweep's best earns in other markets, as a table below the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gaelp_ray.cli.tables import WIDE
from gaelp_ray.records import SCORE, shown

VERSUS = {"versus_default": "less the control arm", "versus_reference": "less BayesDual"}


def other_markets(record: Mapping[str, Any], console: Console) -> None:
    """From what selection.json holds; nothing where no market was named. Narrow terminals lose the differences."""
    markets, winner = record.get("markets"), record["winner"]
    if not markets or not winner:
        return
    told = {key: title for key, title in VERSUS.items() if any(found[key] for found in markets.values())}
    versus = told if console.width >= WIDE else {}
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("in other markets", overflow="fold")
    for title in ("delivered ROAS", "interval", "ROAS", "delivery", "optimality"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in versus.values():
        table.add_column(title, no_wrap=True)
    for name, found in markets.items():
        kept = [_measured(arm) for arm in found["arms"] if arm["trial"] == winner["trial"]]
        cells = kept[0] if kept else ("could not be flown", "", "", "", "")
        table.add_row(Text(name), *cells, *(Text(_compared(found[key])) for key in versus))
    console.print(table, highlight=False)


def _measured(arm: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        shown(arm.get(SCORE), "{:.3f}"),
        f"{shown(arm.get(f'{SCORE}_low'), '{:.2f}')} to {shown(arm.get(f'{SCORE}_high'), '{:.2f}')}",
        shown(arm["roas"], "{:.3f}"),
        shown(arm["delivery"], "{:.1%}"),
        shown(arm["optimality"], "{:.1%}"),
    )


def _compared(versus: Mapping[str, Any] | None) -> str:
    """Such as `+0.172 [+0.027, +0.318] above`; empty where there is nobody to compare with."""
    if versus is None or versus["difference"] is None:
        return versus["verdict"] if versus else ""
    return f"{versus['difference']:+.3f} [{versus['low']:+.3f}, {versus['high']:+.3f}] {versus['verdict']}"
