"""What W&B costs the trials of a sweep: one trial again and again in one worker, with an offline run and without.

CPU seconds are those of the worker and of wandb's helper process. Two measures: the difference between neighbours,
which the machine's changing speed drowns in noise; and what is counted inside the calls to W&B, plus the helper's, as a
share of the same trial. The first tracked trial of a worker pays for the helper's start, and is told apart, as is what
a worker's tracked trials cost together. `make cost` prints it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PAIRS = 7
EPISODES, BATCH = 64 * 28, 64  # 28 iterations, 5 to 9 s of one core

WORKER = """
import json, sys, time
import psutil
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.sweep.trials.trial import GAELPTrial
from gaelp_ray.tracking.runs import RunLog
from gaelp_ray.worlds import world_of

inside = 0.0

def counted(name):
    given = getattr(RunLog, name)
    def call(*arguments, **keywords):
        global inside
        before = time.process_time()
        try:
            return given(*arguments, **keywords)
        finally:
            inside += time.process_time() - before
    return call

for name in ("log", "catch_up", "summarise", "close"):
    setattr(RunLog, name, counted(name))
opened = RunLog.open.__func__
def timed_open(cls, *arguments):
    global inside
    before = time.process_time()
    log = opened(cls, *arguments)
    inside += time.process_time() - before
    return log
RunLog.open = classmethod(timed_open)

folder, pairs, episodes, batch = sys.argv[1], *map(int, sys.argv[2:])
config = GAELPExperimentConfig(agent_type="PPO", num_episodes=episodes, batch_size=batch)
shared = {
    "sweep_id": "share", "session": "one", "folder": folder, "seed": 0,
    "market": world_of(config).model_dump(mode="json"),
    "metric": "delivered_roas", "goal": "maximize", "max_iterations": None, "population": 0,
    "replays": False, "project": "share", "entity": None, "group": "share", "tags": (),
}

def planned(number):
    name = f"share-{number}"
    return {"name": name, "first": name, "config_id": name, "params": {}, "config": config.to_dict(),
            "is_default": False, "seeds": [0]}

def spent(processes):
    return sum(t.user + t.system for t in (p.cpu_times() for p in processes))

def helpers():
    return psutil.Process().children(recursive=True)

def cores():
    return sum("wandb-core" in p.name() for p in psutil.Process().children(recursive=True))

trial, told, most = None, [], 0
for number in range(2 * pairs + 1):  # the first one warms up
    mode = ("disabled", "offline")[number % 2 == 0 and number > 0]
    before, helped, called = spent([psutil.Process(), *helpers()]), spent(helpers()), inside
    given = {"trial": planned(number), "sweep": {**shared, "mode": mode}}
    if trial is None:
        trial = GAELPTrial(given)
    else:
        trial.reset(given)
    while not trial.train()["done"]:
        most = max(most, cores())
    seconds = spent([psutil.Process(), *helpers()]) - before
    told.append({"mode": mode, "seconds": seconds, "counted": inside - called + spent(helpers()) - helped})
print(json.dumps({"trials": told[1:], "cores": most}))
"""


def flown() -> dict[str, Any]:
    """CPU seconds of each trial of one worker, and those of W&B in them."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "WANDB_MODE": "offline",
            "WANDB_DIR": folder,
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
        }
        environment = {**os.environ, **settings, "OMP_NUM_THREADS": "1", "WANDB_DATA_DIR": str(Path(folder) / "data")}
        command = [sys.executable, "-c", WORKER, folder, *map(str, (PAIRS, EPISODES, BATCH))]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print the shares."""
    found = flown()
    without = [trial["seconds"] for trial in found["trials"][0::2]]
    tracked = found["trials"][1::2]
    shares = [trial["counted"] / trial["seconds"] for trial in tracked]
    together = sum(trial["counted"] for trial in tracked) / sum(trial["seconds"] for trial in tracked)
    more = [trial["seconds"] / bare - 1 for trial, bare in zip(tracked[1:], without[1:], strict=True)]
    low, high = statistics.quantiles(more, n=4)[::2]
    print(f"wandb-core processes in the worker, at most: {found['cores']}")
    print(f"a trial without W&B: {statistics.median(without):.1f} CPU s ({min(without):.1f} to {max(without):.1f})")
    print(f"counted inside W&B and its helper: {statistics.median(shares[1:]):.2%} of a trial's CPU time", end="")
    print(f" ({min(shares[1:]):.2%} to {max(shares[1:]):.2%})")
    print(f"of the worker's first tracked trial: {shares[0]:.2%}; of its {len(shares)} together: {together:.2%}")
    print(
        f"difference to the trial before, without: {statistics.median(more):+.1%} (quartiles {low:+.1%}, {high:+.1%})"
    )


if __name__ == "__main__":
    main()
