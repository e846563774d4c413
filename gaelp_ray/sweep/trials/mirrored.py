"""A trial's W&B runs, one for each of its seeds: how they are called, and what they hold, from the trial's record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import TrackingError
from gaelp_ray.records import score_metric
from gaelp_ray.results import TrialStatus
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import History
from gaelp_ray.sweep.store.trial_files import TrialFiles
from gaelp_ray.tracking.mirror import complete_offline
from gaelp_ray.tracking.records import RunRecord
from gaelp_ray.tracking.runs import Row, RunIdentity
from gaelp_ray.tracking.upload import upload


def seed_config(planned: Mapping[str, Any], number: int) -> GAELPExperimentConfig:
    """The configuration of a trial on its seed `number`."""
    return GAELPExperimentConfig(**planned["config"] | {"seed": int(planned["seeds"][number])})


def run_config(planned: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The config of the W&B run."""
    labels = {"config_id": planned["config_id"], "trial": planned["name"]}
    return seed_config(planned, number).to_dict() | labels


def identity_of(planned: Mapping[str, Any], sweep: Mapping[str, Any], number: int) -> RunIdentity:
    """How the W&B run of a seed is found again."""
    role = "default" if planned["is_default"] else "sampled"
    name = planned["name"] if len(planned["seeds"]) == 1 else f"{planned['name']}-s{number}"
    agent = planned["config"]["agent_type"]
    return RunIdentity(
        id=f"{name}-{sweep['sweep_id']}",
        name=name,
        project=sweep["project"],
        entity=sweep["entity"],
        group=sweep["group"],
        job_type="trial",
        mode=sweep["mode"],
        tags=(*sweep["tags"], role, agent, f"config-{planned['config_id']}"),
        reinit="create_new",  # the seeds of a configuration run side by side
    )


@dataclass(frozen=True)
class Outcome:
    """What has become of a trial, as its W&B runs tell it."""

    status: str  # the value of a TrialStatus
    reason: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)  # its last one

    @classmethod
    def of(cls, told: tuple[str, str] | None) -> Outcome:
        """From TrialFiles.read_end(); a trial that nobody has ended is interrupted, perhaps only for a while."""
        return cls(*told) if told else cls(str(TrialStatus.INTERRUPTED))

    @property
    def exit_code(self) -> int:
        """0 where a trial ended well, early or not; W&B shows any other one as failed."""
        return {"failed": 1, "interrupted": 130}.get(self.status, 0)


def scores_of(outcome: Outcome, number: int, metric: str) -> dict[str, Any]:
    """What the summary of a seed's W&B run says of a training that came to its end."""
    seeds = outcome.report.get("seeds")
    if not seeds:
        return {}
    score, validation = score_metric(metric), seeds[number]["validation"]
    return {
        **{name: validation[name] for name in (metric, score) if name in validation},
        f"config/{score}": outcome.report["final_score"],
        "cpu_seconds": outcome.report["cpu_seconds"] / len(seeds),
    }


def rows_of(recorded: Iterable[Mapping[str, Any]], number: int) -> list[Row]:
    """The history of a seed's W&B run."""
    return [Row(row["iteration"], row["time"], row["runs"][number]) for row in recorded]


def run_records(history: History, sweep: Mapping[str, Any]) -> Iterator[RunRecord]:
    """All W&B runs of a sweep as they should be; `sweep` is what all trials share."""
    for name, proposed in history.plans.items():
        record = TrialFiles(Path(sweep["folder"]), name).read()
        if record.plan is None and name not in history.ends:
            continue  # it has not begun
        plan, end = record.plan or proposed, history.ends.get(name)
        outcome = Outcome(end.status, end.reason, record.last) if end else Outcome.of(None)
        for number in range(len(plan["seeds"])):
            summary = scores_of(outcome, number, sweep["metric"]) | {
                "status": outcome.status,
                "reason": outcome.reason,
            }
            rows = rows_of(record.rows, number)
            identity = identity_of(plan, sweep, number)
            yield RunRecord(identity, run_config(plan, number), rows, summary, outcome.exit_code)


def mirror(folder: SweepFolder, sweep: Mapping[str, Any]) -> str:
    """Make the W&B runs of a sweep whole; returns what could not be done, empty if nothing.

    The sweep's environment is set, and no run of this process is open.
    """
    records = run_records(folder.history(), sweep)
    try:
        if sweep["mode"] == "offline":
            complete_offline(records, folder.wandb)
        elif sweep["mode"] == "online":
            return next((found.problem for found in upload(records, folder.wandb) if found.problem), "")
    except TrackingError as error:
        return str(error)
    return ""
