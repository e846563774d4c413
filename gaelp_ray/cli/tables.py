"""Finished facts as tables and sentences for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gaelp_ray.cli.screen import print_sentence
from gaelp_ray.evidence.ratios import intervals
from gaelp_ray.records import SCORE, EpisodeMetrics, Evaluation, score_metric, shown
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.planning.applicability import default_training_length, inapplicable
from gaelp_ray.sweep.planning.core import core_remarks
from gaelp_ray.sweep.planning.delivery import delivery_remarks
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.store.journal import Exploit
from gaelp_ray.sweep.store.states import in_short, trial_states
from gaelp_ray.worlds import World

if TYPE_CHECKING:  # the pipeline brings Ray and wandb, which `gaelp-ray show` does without
    from gaelp_ray.sweep.pipeline import SweepResult
    from gaelp_ray.tracking.artifacts import Publication


def remarks(plan: SweepPlan, console: Console) -> None:
    """The default training length, if the file leaves it out; unused keys; parameters that the chosen agents ignore."""
    if length := default_training_length(plan):
        console.print(length, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for remark in (*delivery_remarks(plan), *core_remarks(plan)):
        console.print(remark, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if plan.unused:
        unused = f"not used here (keys of W&B's launcher): {', '.join(plan.unused)}"
        print_sentence(console, unused)
    for found in inapplicable(plan):
        print_sentence(console, found.text, "dim" if found.applies_to else "yellow")


def parameters(params: Mapping[str, Any]) -> str:
    """Sampled values, short."""
    return "  ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())


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


def closing(result: SweepResult, console: Console) -> None:
    """The winner, what it rests on, where it lies, and how it is fetched."""
    for line in _closing_lines(result):
        print_sentence(console, line)


def _closing_lines(result: SweepResult) -> Iterator[Text]:
    selection, timing, folder = result.selection, result.timing, result.folder
    winner = selection.winner
    if winner:
        evaluation = winner.evaluation
        metrics, interval = evaluation.metrics, evaluation.score_interval
        selected = f"winner {winner.label}" if selection.decision == "winner" else f"tie, selected {winner.label}"
        yield Text(
            f"\n{selected}: {evaluation.score_name} {getattr(metrics, SCORE):.3f}, {evaluation.confidence:.0%} "
            f"interval {interval.low:.3f} to {interval.high:.3f}, ROAS {metrics.roas:.3f}, "
            f"delivery {shown(metrics.delivery, '{:.1%}')}, optimality {shown(metrics.optimality, '{:.1%}')}",
            style="bold green",
        )
        yield Text(f"decision: {selection.reason}")
        yield from map(Text, chosen(folder.read_selection()))
        yield Text(f"model: {_short(folder.best)}")
    else:
        yield Text(f"\nno winner: {selection.reason}", style="bold red")
    yield Text(f"trials: {in_short(trial_states(folder))}")
    yield Text(
        f"time: {timing.trial_cpu_seconds:.0f} CPU s in "
        f"{timing.search_seconds:.0f} s on {timing.cpus:.0f} cores ({timing.utilisation:.0%} busy with trials); "
        f"final stage {timing.select_seconds:.0f} s"
    )
    yield Text(_tracking(result))
    yield from (Text(line, style="red") for line in unpublished(result.publication, folder.shown))
    if winner:
        option = "" if folder.storage == str(Path("results").resolve()) else f" --storage {shlex.quote(folder.storage)}"
        yield Text(f"fetch it: gaelp-ray best {folder.path.name}{option} -o my_model")


def chosen(record: Mapping[str, Any]) -> Iterator[str]:
    """What the choice took, and how much of the advantage in the search was luck, from what selection.json holds."""
    if change := record.get("change"):
        yield f"changed: {change}"
    if race := record.get("race"):
        again = f"; confirmed at attempt {race['attempt']}" if race["attempt"] > 1 else ""
        yield (
            f"race: {race['arms']} arms, {race['rounds']} rounds, {race['flights']:,} of {race['budget']:,} flights; "
            f"among equals it calls a winner with probability {race['error']:.2g} at most{again}"
        )
    yield from _played(record.get("play_off"))
    winner = record["winner"] or {}
    if winner.get("search_advantage") is not None:
        yield (
            f"luck: {winner['shrinkage']:+.3f} of the advantage over the default configuration ({_score_of(record)} "
            f"{winner['search_advantage']:+.3f} in the search, {winner['fresh_advantage']:+.3f} on fresh flights)"
        )
    elif winner.get("shrinkage") is not None:  # an earlier version's: search and fresh flights have different levels
        yield (
            f"luck: {winner['shrinkage']:+.3f} ({_score_of(record)} {winner['search_score']:.3f} in the search, "
            f"{winner['reflown_score']:.3f} on fresh flights)"
        )
    yield from gate_line(record)


def _score_of(record: Mapping[str, Any]) -> str:
    """The metric of the search scores in a selection.json; an older one, without `score`, has realised revenue."""
    return score_metric(record["metric"]) if "score" in record else str(record["metric"])


def _played(found: Mapping[str, Any] | None) -> Iterator[str]:
    if found is None:
        return
    beside = f"play-off: {found['leader']} against the control arm on {found['flights']:,} fresh flights"
    if found["difference"] is None:
        yield f"{beside}: undecided, as one of the two is not eligible on these"
    else:
        ends = f"[{found['low']:+.3f}, {found['high']:+.3f}]"
        verdict = "tie" if found["verdict"] == "tie" else found["verdict"]
        yield f"{beside}: {verdict} ({found['difference']:+.3f} {ends})"


def unpublished(publication: Publication, sweep: str) -> Iterator[str]:
    """What W&B has not taken, and the command that publishes it again."""
    if publication.error:
        taken = "did not take the model" if publication.artifact is None else "has the model, but not all is done"
        yield f"W&B {taken}: {publication.error}; `gaelp-ray sync {sweep}` brings what is missing"


def gate_line(record: Mapping[str, Any]) -> Iterator[str]:
    """What the gate has said of the model, if it was asked, from what selection.json holds."""
    if gate := (record.get("artifact") or {}).get("gate"):
        said = "passed, and it is the best now" if gate["promoted"] else "passed, it stays a candidate"
        yield f"gate: {said if gate['passed'] else 'refused'}: {gate['reason']}"


def is_refused(record: Mapping[str, Any]) -> bool:
    """Whether a gate in the sweep's file holds a pipeline up."""
    return not ((record.get("artifact") or {}).get("gate") or {"passed": True})["passed"]


def _tracking(result: SweepResult) -> str:
    chosen = result.tracking
    where = f"; runs in {_short(result.folder.wandb)}" if chosen.mode == "offline" else ""
    return f"W&B: {chosen.mode} ({chosen.why}){where}"


def _short(path: Path) -> Path:
    """A path as a person would type it from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


METRICS = {
    "delivery": ("delivery", "{:.1%}"),
    "delivered_roas": ("delivered ROAS", "{:.3f}"),
    "expected_delivered_roas": ("expected delivered ROAS", "{:.3f}"),
    "optimality": ("optimality", "{:.1%}"),
    "ctr": ("CTR", "{:.2%}"),
    "conversion_rate": ("conversion rate", "{:.2%}"),
    "cpc": ("CPC", "{:.2f}"),
    "cpa": ("cost per conversion", "{:.2f}"),
}
"""Beside ROAS: what a person calls a metric, and how it is written."""

PRICES = ("cpc", "cpa")


def evaluation_table(evaluation: Evaluation, market: World, console: Console) -> None:
    """Fresh flights of one model."""
    metrics, interval = evaluation.metrics, evaluation.roas_interval
    table = Table("metric", "value", box=None, header_style="bold")
    table.add_row(
        "ROAS",
        f"{shown(metrics.roas, '{:.3f}')} ({evaluation.confidence:.0%}: {interval.low:.3f} to {interval.high:.3f})",
    )
    ends = intervals(evaluation.totals, evaluation.confidence)
    for name, (title, form) in METRICS.items():
        value, end = getattr(metrics, name), ends.get(name)
        within = f" ({form.format(end.low)} to {form.format(end.high)})" if end else ""
        table.add_row(title, shown(value, form, market.currency if name in PRICES else "") + within)
    if not isinstance(market, OwnEnv):  # an own environment has no limits to count by
        table.add_row("safety violations per flight", _violations(metrics))
    console.print(f"{metrics.flights} fresh flights through {market.name}", markup=False, highlight=False)
    console.print(table, markup=False, highlight=False)


def _violations(metrics: EpisodeMetrics) -> str:
    """How often the limits of the market's `safety` block were crossed."""
    kinds = {"bid": metrics.bid_violations, "share": metrics.share_violations}
    kinds |= {"delivery": metrics.delivery_violations, "pacing": metrics.pacing_violations}
    seen = [f"{name} {count:.2f}" for name, count in kinds.items() if count]
    return ", ".join(seen) or "none"
