"""The leaderboard of a finished sweep, as wide and as long as the terminal allows. Start at leaderboard()."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from gaelp_ray.cli.columns import Column, print_table, without_prefix
from gaelp_ray.cli.drawing import drawn, scale_of
from gaelp_ray.cli.scores import score_interval, score_legend, score_of
from gaelp_ray.cli.screen import print_sentence

Row = Mapping[str, Any]  # as selection.json has it

BELOW = 12
"""Lines of a screen that are left for what follows the leaderboard."""

FOOTNOTES = 4
"""Different reasons below a table that has no room for them."""


def leaderboard(rows: Sequence[Row], console: Console, sweep: str = "SWEEP") -> None:
    """The re-evaluated arms first, each with its interval; then the other trials, as many as a screen holds.

    sweep: its name in the command that prints what was left out here.
    """
    shown = _on_a_screen(rows, console.height)
    kept = print_table(console, _columns(shown), shown, _style)
    if shown:
        print_sentence(console, score_legend(shown), "dim")
    notes = [] if any(column.cell is _remark for column in kept) else list(_footnotes(shown))
    for note in notes[:FOOTNOTES]:
        print_sentence(console, note, "dim")
    left_out = [f"{len(notes) - FOOTNOTES} more reasons"] if len(notes) > FOOTNOTES else []
    left_out += [f"{len(rows) - len(shown)} more trials"] if len(rows) > len(shown) else []
    if left_out:
        hint = f"and {' and '.join(left_out)}: gaelp-ray show {sweep} --all"
        print_sentence(console, hint, "dim")


def _columns(rows: Sequence[Row]) -> list[Column[Row]]:
    """All columns, from left to right; those with the largest priorities are dropped first."""
    names = without_prefix([row["trial"] for row in rows if row["role"] != "reference"]) if rows else {}
    return [
        Column("", lambda row: str(row["rank"]), right=True),
        Column("trial", lambda row: str(row["trial"]), narrow=lambda row: names.get(row["trial"], "reference")),
        Column("agent", lambda row: str(row["agent"]), 5, right=True),
        Column("search", _scored, 6, right=True),
        Column("luck", _number("shrinkage", "{:+.3f}"), 7, right=True),
        Column("score", _score, right=True),
        Column("interval", _ends, 1, right=True),
        Column("ROAS", _number("roas", "{:.3f}"), 2, right=True),
        Column("delivery", _number("delivery", "{:.1%}"), 2, right=True),
        Column("optimality", _number("optimality", "{:.1%}"), 4, right=True),
        Column("", _picture(rows), 8),
        Column("", _remark, 3, narrow=_word),
    ]


def _on_a_screen(rows: Sequence[Row], height: int) -> Sequence[Row]:
    finalists = sum(row["role"] != "not re-flown" for row in rows)
    return rows[: max(finalists, height - BELOW)]


def _number(name: str, form: str) -> Callable[[Row], str]:
    return lambda row: "" if row.get(name) is None else form.format(row[name])


def _score(row: Row) -> str:
    score = score_of(row)
    return "" if score is None else f"{score:.3f}"


def _ends(row: Row) -> str:
    interval = score_interval(row)
    return f"{interval.low:.2f} to {interval.high:.2f}" if interval else ""


def _picture(rows: Sequence[Row]) -> Callable[[Row], str]:
    """The score's interval as a line on a scale that all eligible arms share, such as `  |---o---|  `."""
    scale = scale_of(found for row in rows if not row["ineligible"] and (found := score_interval(row)))

    def picture(row: Row) -> str:
        score, interval = score_of(row), score_interval(row)
        if score is None or interval is None or row["ineligible"]:
            return ""
        return drawn(score, interval, scale)

    return picture


def _scored(row: Row) -> str:
    """The search score, with its standard error if there were several seeds."""
    error = _number("search_se", " ± {:.3f}")(row)
    return _number("search_score", "{:.3f}")(row) + error


def _word(row: Row) -> str:
    """A remark in one or two words."""
    if row["status"] != "completed":
        return str(row["status"])
    if row["ineligible"]:
        return "not eligible"
    return "dropped" if row.get("dropped_round") else ""


def _remark(row: Row) -> str:
    word = _word(row)
    if row["error"]:
        return f"{row['status']}{' early' if row['status'] == 'stopped' else ''}: {row['error']}"
    if word == "not eligible":
        return f"{word}: {row['ineligible']}"
    if word == "dropped":
        return f"{word} in round {row['dropped_round']} by {row['dropped_by'] or 'its bounds'}"
    return word


def _footnotes(rows: Sequence[Row]) -> Iterator[str]:
    """Each remark that says more than its word, after the ranks of its trials."""
    ranks: dict[str, list[int]] = {}
    for row in rows:
        if (remark := _remark(row)) != _word(row):
            ranks.setdefault(remark, []).append(row["rank"])
    return (f"{_ranges(numbers)}: {remark}" for remark, numbers in ranks.items())


def _ranges(numbers: Sequence[int]) -> str:
    """`3, 5-9` for ascending numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _style(row: Row) -> str:
    if row["status"] == "failed":
        return "red"
    if row["role"] == "reference":
        return "cyan"
    return "dim" if row["ineligible"] or row["roas"] is None else ""
