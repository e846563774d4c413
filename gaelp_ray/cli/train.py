"""`gaelp-ray train`: one experiment without Ray, and what came of it beside the reference bidder."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import Coroutine, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table

from gaelp_ray.cli.screen import out, print_json, print_sentence
from gaelp_ray.config import FIELD_NAMES, RECORDED, SECTIONS, GAELPExperimentConfig, nest
from gaelp_ray.errors import ConfigError, TrainingError
from gaelp_ray.market import Market
from gaelp_ray.records import SCORE, SCORE_NAMES, ratio, shown
from gaelp_ray.sweep.format.document import Problem, read_document
from gaelp_ray.sweep.planning.names import Fields

if TYPE_CHECKING:
    from gaelp_ray.trainer import IntegratedGAELPTrainer

BLOCKS, SMALLEST_BLOCK = 10, 10
"""Rows of the table that shows how a training went, and the episodes that a row is of at least."""

_T = TypeVar("_T")

METRICS = {"roas": "ROAS", "ctr": "CTR", "cpc": "CPC", "conversion_rate": "conversion rate"}


def train(
    config: Annotated[
        Path | None, typer.Option(help="YAML file with fields of a trial (`gaelp-ray fields` lists them).")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, max=10**9, help="Flights in all; default: the configuration's.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Experiment; one of that name goes on where it ended.")] = None,
    wandb: Annotated[bool, typer.Option(help="Track with W&B.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print facts as JSON.")] = False,
) -> None:
    """Train one agent in this process: tracked, checkpointed, evaluated on fresh flights."""
    from gaelp_ray.trainer import IntegratedGAELPTrainer  # imports wandb

    trainer = IntegratedGAELPTrainer(name, wandb, read_config(config) if config else None)
    if trainer.results:
        print(f"{trainer.experiment_name} goes on after {len(trainer.results)} episodes", file=sys.stderr)
    try:
        results = asyncio.run(_interruptible(trainer.train(episodes)))
    except asyncio.CancelledError:
        trainer.tracker.finish(exit_code=130)
        given = ["--config", str(config)] if config else []
        given += [*(["--episodes", str(episodes)] if episodes else []), *([] if wandb else ["--no-wandb"])]
        again = shlex.join(["gaelp-ray", "train", "--name", trainer.experiment_name, *given])
        print(f"interrupted after {len(trainer.results)} episodes: `{again}` goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    except TrainingError:
        trainer.tracker.finish(exit_code=1)
        raise
    facts = _facts(trainer, results)
    if as_json:
        print_json(facts)
    else:
        _show(facts)


async def _interruptible(training: Coroutine[Any, Any, _T]) -> _T:
    """The same on Ctrl-C in every Python: cancelled between two batches, after a checkpoint."""
    task = asyncio.ensure_future(training)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    return await task


def read_config(path: Path) -> GAELPExperimentConfig:
    """The configuration in a YAML file; what it leaves out has its default.

    Raises SweepFileError with every problem found, each with its line. Unlike the class, it refuses unknown fields.
    """
    document = read_document(path, "configuration", "agent_type, num_episodes, ...")
    known = [*FIELD_NAMES, *RECORDED, *SECTIONS]
    unknown = [key for key in document.data if key not in known]
    fields = Fields.of_agents([document.data.get("agent_type", GAELPExperimentConfig().agent_type)])
    problems = [Problem((key,), f"unknown field. {fields.hint(key)}") for key in unknown]
    try:
        config = GAELPExperimentConfig(**nest({k: v for k, v in document.data.items() if k in known}))
    except ConfigError as error:
        for field, text in error.problems:
            dotted = field in document.data  # written as `ppo.epochs: 4`
            problems.append(Problem((field,) if dotted else tuple(field.split(".")), text))
    if problems:
        raise document.complain(problems)
    return config


def _facts(trainer: IntegratedGAELPTrainer, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Everything that is worth knowing after a training; closes the run."""
    held_out = isinstance(trainer.world, Market) and trainer.world.held_out is not None
    fresh = trainer.evaluate()
    real = trainer.evaluate_on_real_data() if held_out else None
    backup = trainer.finish_training()
    return {
        "experiment": trainer.experiment_name,
        "agent_type": trainer.config.agent_type,
        "world": trainer.world.name,
        "episodes": len(results),
        "progress": progress(results, trainer.reference_episodes()),
        "fresh": fresh,
        "real": real,
        "results": str(backup) if backup else None,
        "learning_curve": str(trainer.picture) if trainer.picture else None,
        "model": str(trainer.checkpoints.last) if trainer.checkpoints.last else None,
    }


def progress(
    results: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]]
) -> list[dict[str, float | None]]:
    """ROAS and optimality, pooled over blocks of episodes, and those of the reference on the same flights.

    Where the reference has flown only some of the episodes, both are of those alone.
    """
    theirs = {episode["episode"]: episode for episode in reference}
    both = [episode for episode in results if episode["episode"] in theirs or not theirs]
    count = max(min(BLOCKS, len(both) // SMALLEST_BLOCK), 1)
    bounds = [len(both) * number // count for number in range(count + 1)]
    rows = []
    for block in (both[start:end] for start, end in pairwise(bounds) if end > start):
        row = {"first": block[0]["episode"], "last": block[-1]["episode"]} | _pooled(block)
        if theirs:
            other = _pooled([theirs[episode["episode"]] for episode in block])
            row |= {f"reference_{name}": value for name, value in other.items()}
        rows.append(row)
    return rows


def _pooled(episodes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    def total(name: str) -> float:
        return sum(float("nan") if e[name] is None else e[name] for e in episodes)

    return {
        "roas": ratio(total("total_revenue"), total("total_cost")),
        "optimality": ratio(total("expected_revenue"), total("oracle_revenue")),
    }


def _show(facts: Mapping[str, Any]) -> None:
    """The summary for a person."""
    named = facts["fresh"].get("reference", {}).get("name")
    head = f"{facts['experiment']}: {facts['agent_type']} on {facts['world']}, {facts['episodes']} training episodes"
    print_sentence(out, head + (f", beside {named} on the same flights" if named else ""))
    columns = ["episodes", "ROAS", *([named] if named else []), "optimality", *([named] if named else [])]
    table = Table(*columns, box=None, header_style="bold")
    for row in facts["progress"]:
        cells = [f"{row['first']:,}-{row['last']:,}", shown(row["roas"], "{:.2f}"), shown(row["optimality"], "{:.1%}")]
        if named:
            cells.insert(2, shown(row["reference_roas"], "{:.2f}"))
            cells.append(shown(row["reference_optimality"], "{:.1%}"))
        table.add_row(*cells)
    out.print(table)
    for line in (*_fresh(facts["fresh"]), *_real(facts["real"]), *_files(facts)):
        print_sentence(out, line)


def _fresh(fresh: Mapping[str, Any]) -> list[str]:
    agent, reference = fresh["agent"], fresh.get("reference")
    interval = f"[{agent['roas_low']:.2f}, {agent['roas_high']:.2f}]"
    said = (
        f"{fresh['episodes']} fresh flights: ROAS {shown(agent['roas'], '{:.2f}')} {interval}, "
        f"optimality {shown(agent['optimality'], '{:.1%}')}, delivery {shown(agent['delivery'], '{:.1%}')}"
    )
    if not reference:
        return [said]
    ahead = fresh[f"{SCORE}_difference"]
    verdict = "tie with" if ahead["verdict"] == "tie" else ahead["verdict"]
    return [
        said,
        f"{verdict} {reference['name']} (ROAS {reference['roas']:.2f}, optimality {reference['optimality']:.1%}, "
        f"delivery {reference['delivery']:.1%}): {SCORE_NAMES[agent['estimator']]} {ahead['difference']:+.3f} "
        f"[{ahead['low']:+.3f}, {ahead['high']:+.3f}]",
    ]


def _real(real: Mapping[str, Any] | None) -> list[str]:
    """How the market does on real campaigns."""
    if real is None:
        return []
    told = [
        f"{title} {shown(real[f'{name}_mae'], '{:.3g}')} ({shown(real[f'{name}_mae_noise_floor'], '{:.3g}')})"
        for name, title in METRICS.items()
        if real.get(f"{name}_mae") is not None
    ]
    return [
        f"the market on {real['campaigns']} real campaigns it was not calibrated on, mean error (noise floor): "
        + ", ".join(told)
    ]


def _files(facts: Mapping[str, Any]) -> list[str]:
    titles = {"results": "results", "learning_curve": "learning curve", "model": "model"}
    return [f"{title}: {facts[name]}" for name, title in titles.items() if facts[name]]
