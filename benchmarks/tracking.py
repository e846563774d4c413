"""What tracking costs a training: the same with W&B (offline) and without, in CPU seconds; `make cost`.

Each run is a process of its own with everything that a training does: 10,000 episodes, each a row, checkpoints, local
results, learning curve. The CPU time is that of the process and of all it has started, so that wandb's own process
counts. Medians of three, the cases in turn; the shares are those of one run.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile

RUNS, EPISODES = 3, 10_000
CASES = {"batches of 10 (the default)": 10, "batches of 64": 64}

TRAINING = """
import asyncio
from gaelp_ray import GAELPExperimentConfig, IntegratedGAELPTrainer
trainer = IntegratedGAELPTrainer("cost", {wandb}, GAELPExperimentConfig(batch_size={batch}))
asyncio.run(trainer.train({episodes}))
trainer.finish_training()
"""


def cpu_seconds(batch: int, wandb: bool) -> float:
    """CPU seconds of one training, its children included."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    code = TRAINING.format(batch=batch, wandb=wandb, episodes=EPISODES)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    print(f"{EPISODES:,} episodes of PPO on BayesDual, CPU seconds, medians of {RUNS}")
    for title, batch in CASES.items():
        pairs = [(cpu_seconds(batch, False), cpu_seconds(batch, True)) for _ in range(RUNS)]
        without, with_wandb = zip(*pairs, strict=True)
        shares = [on / off - 1.0 for off, on in pairs]
        print(
            f"{title}: {statistics.median(without):.1f} without W&B, {statistics.median(with_wandb):.1f} with it: "
            f"{statistics.median(shares):+.1%} ({min(shares):+.1%} to {max(shares):+.1%})",
            flush=True,
        )


if __name__ == "__main__":
    main()
