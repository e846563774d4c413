"""A Ray session of our own: started quietly for one sweep, and gone after it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import ray

OBJECT_STORE_BYTES = 256 * 2**20
"""Trials exchange kilobytes; Ray's default would reserve a third of the machine's memory."""

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # one core per trial is what Ray reserves, and what makes sums repeat bit for bit
    "OPENBLAS_NUM_THREADS": "1",
}

DRIVER_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own tables: with verbose=0 the old reporter is the silent one
    "RAY_worker_niceness": "0",  # 15 by default, which starves trials on a shared machine
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our own records and W&B replace Tune's CSV, JSON and TensorBoard
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a notice about machines without a GPU
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def ray_session(environment: Mapping[str, str]) -> Iterator[None]:
    """Ray on this machine, with `environment` in every worker; stopped when the block ends, however it ends."""
    with environment_set({**{k: v for k, v in DRIVER_ENVIRONMENT.items() if k not in os.environ}, **environment}):
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            runtime_env={"env_vars": {**WORKER_ENVIRONMENT, **environment}},
        )
        try:
            yield
        finally:
            ray.shutdown()


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


def session_cpus() -> float:
    """Cores of the running session."""
    return float(ray.cluster_resources().get("CPU", 1.0))
