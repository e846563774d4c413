"""Finished facts as tables and sentences for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gaelp_ray.records import EpisodeMetrics, Evaluation, shown
from gaelp_ray.results import TrialStatus
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.lineage import Exploit
from gaelp_ray.sweep.planning.applicability import inapplicable
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.worlds import World

if TYPE_CHECKING:  # the pipeline brings Ray and wandb, which `gaelp-ray show` does without
    from gaelp_ray.sweep.pipeline import SweepResult

WIDE = 112
"""Columns of a terminal that shows the whole leaderboard."""


DRAWN = 25
"""Characters of a drawn interval."""


def remarks(plan: SweepPlan, console: Console) -> None:
    """What the file says in vain: keys that nobody reads, and parameters that the chosen agents do not."""
    if plan.unused:
        console.print(f"not used here (keys of W&B's launcher): {', '.join(plan.unused)}", soft_wrap=True)
    for found in inapplicable(plan):
        style = "dim" if found.applies_to else "yellow"
        console.print(found.text, style=style, markup=False, highlight=False, soft_wrap=True)


def parameters(params: Mapping[str, Any]) -> str:
    """Sampled values, short."""
    return "  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())


def leaderboard(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The re-flown arms first, each with its interval; then the rest. Narrow terminals lose some columns."""
    wide = console.width >= WIDE
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("trial", no_wrap=True)
    for name in ("agent", "search") if wide else ():
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("ROAS", "interval", "delivery", "optimality"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("", no_wrap=True, style="bold")
    table.add_column("", overflow="fold")
    flown = [row for row in rows if row["roas"] is not None and not row["ineligible"]]
    scale = (min(r["roas_low"] for r in flown), max(r["roas_high"] for r in flown)) if flown else (0.0, 1.0)
    for row in rows:
        interval = f"{row['roas_low']:.2f} to {row['roas_high']:.2f}" if row["roas"] is not None else ""
        table.add_row(
            str(row["rank"]),
            row["trial"],
            *([row["agent"], _scored(row)] if wide else []),
            _filled(row["roas"], "{:.3f}"),
            interval,
            _filled(row["delivery"], "{:.1%}"),
            _filled(row["optimality"], "{:.1%}"),
            *([_drawn(row, scale)] if wide else []),
            _remark(row),
            style=_style(row),
        )
    console.print(table)


def lineage(exploits: Sequence[Exploit], console: Console) -> None:
    """Which trials of a population went on from which others, and what was changed."""
    for exploit in exploits:
        changed = ", ".join(f"{name} {_value(old)} -> {_value(new)}" for name, (old, new) in exploit.changed.items())
        console.print(
            f"iteration {exploit.iteration}: {exploit.trial} went on from {exploit.source}; {changed}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _scored(row: Mapping[str, Any]) -> str:
    """The search score, with its standard error where several seeds tell one."""
    error = row.get("search_se")
    return _filled(row["search_score"], "{:.3f}") + (f" ± {error:.3f}" if error is not None else "")


def _drawn(row: Mapping[str, Any], scale: tuple[float, float]) -> str:
    """The interval as a line on a scale that all eligible arms share, such as `  |---o---|  `."""
    low, high = scale
    if row["roas"] is None or row["ineligible"] or not low < high:
        return ""
    start, middle, end = (
        round((row[name] - low) / (high - low) * (DRAWN - 1)) for name in ("roas_low", "roas", "roas_high")
    )
    line = [" "] * start + ["─"] * (end - start + 1)
    line[start], line[end], line[middle] = "├", "┤", "●"
    return "".join(line)


def _filled(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _remark(row: Mapping[str, Any]) -> Text:
    if row["error"]:
        return Text(f"{row['status']}{' early' if row['status'] == 'stopped' else ''}: {row['error']}")
    if row["status"] != "completed":
        return Text(str(row["status"]))
    if row["ineligible"]:
        return Text(f"not eligible: {row['ineligible']}")
    return Text("")


def _style(row: Mapping[str, Any]) -> str:
    if row["status"] == "failed":
        return "red"
    if row["role"] == "reference":
        return "cyan"
    return "dim" if row["ineligible"] or row["roas"] is None else ""


def closing(result: SweepResult, storage: Path, console: Console) -> None:
    """The winner, what it rests on, where it lies, and how it is fetched."""
    for line in _closing_lines(result, storage):
        console.print(line, highlight=False, soft_wrap=True)


def _closing_lines(result: SweepResult, storage: Path) -> Iterator[Text]:
    selection, timing, folder = result.selection, result.timing, result.folder
    winner = selection.winner
    if winner:
        evaluation = winner.evaluation
        metrics, interval = evaluation.metrics, evaluation.roas_interval
        yield Text(
            f"\nwinner {winner.label}: ROAS {metrics.roas:.3f}, {evaluation.confidence:.0%} interval "
            f"{interval.low:.3f} to {interval.high:.3f}, delivery {shown(metrics.delivery, '{:.1%}')}, "
            f"optimality {shown(metrics.optimality, '{:.1%}')}",
            style="bold green",
        )
        yield Text(f"decision: {selection.reason}")
        yield Text(f"model: {_short(folder.best)}")
    else:
        yield Text(f"\nno winner: {selection.reason}", style="bold red")
    failed, stopped = (sum(t.status is s for t in result.trials) for s in (TrialStatus.FAILED, TrialStatus.STOPPED))
    early = f", {stopped} stopped early" if stopped else ""
    yield Text(
        f"time: {len(result.trials)} trials ({failed} failed{early}), {timing.trial_cpu_seconds:.0f} CPU s in "
        f"{timing.search_seconds:.0f} s on {timing.cpus:.0f} cores ({timing.utilisation:.0%} busy with trials); "
        f"final stage {timing.select_seconds:.0f} s"
    )
    yield Text(_tracking(result))
    if result.publication.error:
        yield Text(f"W&B did not take the model: {result.publication.error}", style="red")
    if winner:
        option = "" if storage.resolve() == Path("results").resolve() else f" --storage {storage}"
        yield Text(f"fetch it: gaelp-ray best {folder.path.name}{option} -o my_model")


def _tracking(result: SweepResult) -> str:
    chosen = result.tracking
    where = f"; runs in {_short(result.folder.wandb)}" if chosen.mode == "offline" else ""
    return f"W&B: {chosen.mode} ({chosen.why}){where}"


def _short(path: Path) -> Path:
    """A path as a person would type it from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def evaluation_table(evaluation: Evaluation, market: World, console: Console) -> None:
    """Fresh flights of one model."""
    metrics, interval = evaluation.metrics, evaluation.roas_interval
    table = Table("metric", "value", box=None, header_style="bold")
    table.add_row(
        "ROAS",
        f"{shown(metrics.roas, '{:.3f}')} ({evaluation.confidence:.0%}: {interval.low:.3f} to {interval.high:.3f})",
    )
    table.add_row("delivery", shown(metrics.delivery, "{:.1%}"))
    table.add_row("delivered ROAS", shown(metrics.delivered_roas, "{:.3f}"))
    table.add_row("optimality", shown(metrics.optimality, "{:.1%}"))
    table.add_row("CTR", shown(metrics.ctr, "{:.2%}"))
    table.add_row("conversion rate", shown(metrics.conversion_rate, "{:.2%}"))
    table.add_row("CPC", shown(metrics.cpc, "{:.2f}", market.currency))
    table.add_row("cost per conversion", shown(metrics.cpa, "{:.2f}", market.currency))
    if not isinstance(market, OwnEnv):  # an own environment has no limits to count by
        table.add_row("safety violations per flight", _violations(metrics))
    console.print(f"{metrics.flights} fresh flights through {market.name}", highlight=False)
    console.print(table)


def _violations(metrics: EpisodeMetrics) -> str:
    """How often the limits of the market's `safety` block were crossed."""
    kinds = {"bid": metrics.bid_violations, "share": metrics.share_violations}
    kinds |= {"delivery": metrics.delivery_violations, "pacing": metrics.pacing_violations}
    seen = [f"{name} {count:.2f}" for name, count in kinds.items() if count]
    return ", ".join(seen) or "none"
