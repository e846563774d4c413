"""Two defects of Ray 2.60's Tune, mended while a search runs.

Tune knows two failures of a task: that of its code, and that of its actor. For a worker that Ray's memory monitor has
killed it gets a third, OutOfMemoryError, and gives up the whole sweep. Here that is an actor's failure, too, and an
exception of the code's that cannot be unpickled, which it takes alike, is one of the code.

Tune also hands the driver's AWS keys to every trial by its `runtime_env`, which Ray writes in clear to a log on each
node. Each node has keys of its own (decision 024): here they stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError, UnserializableException
from ray.tune.execution import class_cache


@contextmanager
def tune_mended() -> Iterator[None]:
    """For the length of a block, what kills a worker breaks off its trial and no other, and no key is handed on."""
    given, handed_on = RayActorManager._actor_task_failed, class_cache.ENV_VARS_TO_PROPAGATE

    def actor_task_failed(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, UnserializableException):
            exception = RayTaskError("train", str(exception), exception)
        elif isinstance(exception, RayError) and not isinstance(exception, (RayActorError, RayTaskError)):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        given(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = actor_task_failed
    class_cache.ENV_VARS_TO_PROPAGATE = {name for name in handed_on if not name.startswith("AWS_")}
    try:
        yield
    finally:
        RayActorManager._actor_task_failed, class_cache.ENV_VARS_TO_PROPAGATE = given, handed_on
