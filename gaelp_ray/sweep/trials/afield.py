"""What a driver must do for trials that ran on other nodes: bring their files, and leave nothing on the nodes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gaelp_ray.errors import StorageError, SweepInterrupted
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.copies import fetch
from gaelp_ray.sweep.remote.sweep import flown
from gaelp_ray.sweep.trials.settings import SharedSettings
from gaelp_ray.sweep.trials.site import remove_copies

PATIENCE_SECONDS, RETRY_SECONDS = 45.0, 3.0
"""For a server that is away when the search has ended; between two attempts."""

CLEAR_SECONDS = 10.0


def bring(settings: SharedSettings) -> None:
    """Make the trials in the driver's working copy those of the bucket, which alone has all of them.

    Raises SweepInterrupted: without them there is nothing to choose from, and later there will be.
    """
    address, folder = Address.parse(settings.remote or ""), Path(settings.folder)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            bucket = Bucket(address)
            return fetch(bucket, bucket.stats("trials"), folder, flown)
        except StorageError as error:
            if time.monotonic() > deadline:
                way = f"all trials are there: go on with `gaelp-ray resume {address.shown}`"
                raise SweepInterrupted(f"{error}; {way}") from None
            time.sleep(RETRY_SECONDS)


def clear(settings: SharedSettings, started: float) -> None:
    """Remove the folders that workers have had on their nodes; those of a node that is away stay in its cache.

    started: when this driver did (s since 1970); what a killed one before it has left goes, too.
    """
    shared = {"folder": settings.folder, "sweep_id": settings.sweep_id, "session": settings.session}
    asked = [
        _clear.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            shared, started
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    ray.wait(asked, num_returns=len(asked), timeout=CLEAR_SECONDS)


@ray.remote(num_cpus=0, max_retries=0)
def _clear(shared: Mapping[str, Any], started: float) -> None:
    remove_copies(shared, started)
