"""What was found, as a table of docs/reliability.md."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence

import psutil
import ray
import wandb

from reliability.faults import Fault, Finding

PAGE = """\
# What a sweep survives

Each line is a fault that was injected into a real sweep (Ray {ray}, the wandb {wandb} client, and a W&B server of our
own on a port of this machine), by `make reliability`; the same faults are tests (`make slow`).

## How it was measured

A sweep of a few trainings of about two seconds is started through the command line, in processes of its own. The fault
comes with something that its journal, its records or its output shows, never after a fixed time. Where the sweep does
not go on by itself, `gaelp-ray resume` follows. Then:

- **lost**: the leaderboard, the decision and every number of every recorded iteration are compared, bit for bit, with
  those of an uninterrupted sweep of the same file, except for what a clock says; how many trials run at a time may
  differ, as it must change no number. Where no such sweep exists (the trials are to fail, or ASHA decided by who came
  first), what was recorded before the fault must be there afterwards. No trial and no iteration may be there twice. No
  process may be left over.
- **W&B**: one run for each trial, every iteration once and in order with the numbers of the record, its status and its
  exit code; one run of the final stage with the model. Offline the run directories are read, online the server's state.
- **seconds**: from the start of the first command to the end of the last, on a machine that had other things to do.

{machine}

{table}

{wrong}## What is not survived

- The loss of the disk that holds the sweep's folder, and damage in the middle of its files. A torn end of a file costs
  what was behind it; iterations of a trial are then flown again, to the same numbers.
- Training since a trial's last checkpoint, 30 seconds at most, is repeated after a kill of its worker or of the driver.
  Its numbers are the same ones; its time is lost.
- A file system without locks lets two drivers run the same sweep.
- A scheduler that decides by who came first (ASHA, median) decides otherwise after an interruption about trials that
  were not decided yet; its former decisions stand.
- An environment of one's own that keeps a state of its own beyond a flight begins anew with its process.
"""


def line(fault: Fault, found: Finding) -> str:
    """One row of the table."""
    return f"| {' | '.join(_cells(fault, found))} |"


def _cells(fault: Fault, found: Finding) -> tuple[str, ...]:
    if found.skipped:
        return fault.name, fault.injected, f"skipped: {found.skipped}", "-", "-"
    lost = f"{len(found.lost) + len(found.left_over)} things" if found.lost or found.left_over else "nothing"
    told = f"{fault.injected} ({found.told})" if found.told else fault.injected
    wandb_is = f"{found.wandb}, {len(found.untrue)} wrong" if found.untrue else found.wandb
    return fault.name, told, lost, wandb_is, f"{found.seconds:.0f}"


def page(faults: Sequence[Fault], findings: Mapping[str, Finding]) -> str:
    """docs/reliability.md."""
    rows = [("fault", "injected", "lost", "W&B", "seconds"), ("---", "---", "---", "---", "---:")]
    rows += [_cells(fault, findings[fault.name]) for fault in faults]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    found = [f"- {fault.name}: {problem}" for fault in faults for problem in findings[fault.name].problems]
    text = "## What was wrong\n\n" + "\n".join(found) + "\n\n" if found else ""
    return PAGE.format(ray=ray.__version__, wandb=wandb.__version__, machine=_machine(), table=table, wrong=text)


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    today = datetime.date.today().isoformat()
    python = f"{platform.system()}, Python {platform.python_version()}"
    return f"{today}, {os.cpu_count()} cores, {memory:.0f} GB of memory, {python}."
