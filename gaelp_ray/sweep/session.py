"""A Ray session for one sweep: of our own, started quietly and gone after it, or at a cluster that stays."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import worker
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.utils import get_num_cpus

from gaelp_ray.errors import InputError

OBJECT_STORE_BYTES = 256 * 2**20
"""Trials exchange kilobytes; Ray's default would reserve a third of the machine's memory."""

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # one core per trial is what Ray reserves
    "OPENBLAS_NUM_THREADS": "1",
}

DRIVER_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own tables: with verbose=0 the old reporter is the silent one
    "RAY_prestart_worker_first_driver": "0",  # they would lack our runtime_env, so that no trial could have them
    "RAY_timeout_ms_task_wait_for_death_info": "30000",  # of 1 s, in which busy cores do not say why a worker died
    "RAY_worker_niceness": "0",  # 15 by default, which starves trials on a shared machine
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our own records and W&B replace Tune's CSV, JSON and TensorBoard
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a notice about machines without a GPU
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def ray_session(environment: Mapping[str, str], address: str | None = None) -> Iterator[None]:
    """Ray on this machine, or the cluster at an address, with `environment` in every worker.

    When the block ends, however it ends, a session of this machine's is stopped, and a cluster is left as it was.
    """
    own: dict[str, Any] = {}
    if address is None:
        own = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES, "num_cpus": cpus_here()}
    variables = {**{k: v for k, v in DRIVER_ENVIRONMENT.items() if k not in os.environ}, **environment}
    with environment_set(variables), _messages_aside():
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {**WORKER_ENVIRONMENT, **environment}},
            **own,
        )
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _messages_aside() -> Iterator[None]:
    """What Ray 2.60 tells of tasks that it tries again goes to standard error: standard output is for results."""
    given = worker.print_to_stdstream

    def aside(data: dict[str, Any], ignore_prefix: bool) -> None:
        given({**data, "is_err": True}, ignore_prefix)

    worker.print_to_stdstream = aside
    try:
        yield
    finally:
        worker.print_to_stdstream = given


@contextmanager
def environment_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the length of a block; whoever calls us from Python finds his own again after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


ASKED: set[str] = set()
AVOIDED: set[str] = set()
"""Ids of nodes: those that were asked before the sweep, and those that get none of this process's work."""


def elsewhere() -> dict[str, str]:
    """Ray's label selector for all nodes but those that are avoided; empty where there are none of these."""
    return {"ray.io/node-id": f"!in({','.join(sorted(AVOIDED))})"} if AVOIDED else {}


def require_no_session() -> None:
    """Raises InputError where this process uses Ray already: it can have one session at a time."""
    if ray.is_initialized():
        raise InputError("Ray runs in this process already: call ray.shutdown() first, or sweep in another process")


class DriverOnly:
    """Something that Tune pickles into a state which nobody reads: our own journal is what a sweep goes on from."""

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return (object, ())

    def __deepcopy__(self, memo: object) -> DriverOnly:
        return self


def cpus_here() -> int:
    """Cores that a session of this machine's has: no more than a container's limit, nor than taskset(1) leaves us."""
    counted = int(get_num_cpus(override_docker_cpu_warning=True))
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return max(min(counted, len(affinity(0))) if affinity else counted, 1)


def gpus_here() -> int:
    """Cards that a session of this machine's has, of any maker that Ray knows."""
    manager = get_accelerator_manager_for_resource("GPU")
    found = int(manager.get_current_node_num_accelerators())
    visible = manager.get_current_process_visible_accelerator_ids()
    return found if visible is None else min(found, len(visible))


def session_cpus() -> float:
    """Cores of the running session."""
    return float(ray.cluster_resources().get("CPU", 1.0))
