"""Sweeps: a file in, trials through Ray Tune, a winner out. Start at pipeline.py."""

import os

# Read when Ray is first imported, which is below here: of the dead it tells on stdout, where our JSON goes.
TOLD_BY_US = "A worker died or was killed|killed due to memory pressure|Raylet is terminated|The node with node id"
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", TOLD_BY_US)
