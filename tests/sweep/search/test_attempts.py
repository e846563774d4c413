"""Why trials break off, and how often each cause is tried again. Ray's errors are real ones, made by hand."""

from __future__ import annotations

import errno
import math
from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    UnserializableException,
    WorkerCrashedError,
)

from gaelp_ray.sweep.search.attempts import (
    DISK,
    EXCEPTION,
    KILLED,
    MEMORY,
    NODE,
    STUCK,
    Attempts,
    cause_of,
    died_of,
    in_words,
)

KILL = """The actor died unexpectedly before finishing this task.
\tclass_name: X
\tpid: 13306
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) much advice."""
PRESSURE = "OutOfMemoryError: 2 worker(s) were killed. Selected to kill: (Actor(a), pid=77, actual memory used=1.50GB)"


def raised(cause: Exception) -> RayTaskError:
    """An exception of the trial's own, as Tune gets it."""
    return RayTaskError("train", f"a traceback\n{cause}", cause)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (raised(ValueError("no")), EXCEPTION),
        (raised(OSError(errno.ENOSPC, "No space left on device")), DISK),
        (raised(OSError(errno.EROFS, "Read-only file system")), DISK),
        (raised(OSError(errno.ENOENT, "No such file")), EXCEPTION),
        (raised(RuntimeError("torch.OutOfMemoryError: CUDA out of memory")), EXCEPTION),
        (raised(UnserializableException("torch.OutOfMemoryError: CUDA out of memory")), EXCEPTION),
        (RayActorError(error_msg=KILL), KILLED),
        (RayActorError(error_msg=PRESSURE), MEMORY),
        (OutOfMemoryError("memory"), MEMORY),
        (RayActorError(error_msg="The actor died because its node has died. Node died."), NODE),
        (RayActorError(error_msg="gone", preempted=True), NODE),
        (RayActorError(error_msg="gone", actor_init_failed=True), EXCEPTION),
        (NodeDiedError("x"), NODE),
        (WorkerCrashedError(), KILLED),
        (None, EXCEPTION),
    ],
)
def test_the_cause_is_told_by_what_ray_raises(error, cause):
    assert cause_of(error) == cause


def test_an_error_is_one_line_without_rays_advice():
    assert died_of(raised(ValueError("too much\nand more"))) == "ValueError: too much"
    assert died_of(RayActorError(error_msg=KILL)) == (
        "its worker died: Worker unexpectedly exits with a connection error code 2"
    )
    assert died_of(RayActorError(error_msg=PRESSURE)) == "Ray's memory monitor killed its worker"
    assert died_of(RuntimeError("Traceback\n  File x\nmodule.KeyError: 'x'\n")) == "KeyError: 'x'"
    assert died_of(raised(UnserializableException("Traceback\n  File x\nshop.Closed: (4, 'today')\n"))) == (
        "Closed: (4, 'today')"
    )
    assert died_of(None) == "an unknown error"


@pytest.fixture
def breaking(tmp_path):
    """Lets one of Tune's trials break off of an error, as Tune leaves it in the trial's folder."""
    told = []
    attempts = Attempts(lambda attempt, account: told.append((attempt, account)))

    def break_off(error, name="a", **last):
        path = tmp_path / "error.pkl"
        path.write_bytes(cloudpickle.dumps(error))
        config = {"trial": {"name": name}}
        attempts.broke_off(
            SimpleNamespace(config=config, pickled_error_file=str(path), error_file=None, last_result=last)
        )
        return attempts.given_up(name)

    break_off.attempts, break_off.told = attempts, told
    return break_off


@pytest.mark.parametrize(
    ("error", "retries"),
    [
        (raised(ValueError("no")), 0),
        (RayActorError(error_msg=PRESSURE), 1),
        (RayActorError(error_msg=KILL), 3),
        (RayActorError(error_msg="gone", preempted=True), math.inf),
        (raised(OSError(errno.ENOSPC, "full")), math.inf),
    ],
)
def test_each_cause_has_its_own_budget(breaking, error, retries):
    for number in range(10):
        given_up = breaking(error)
        assert (given_up is not None) == (number >= retries)
        if given_up:
            assert breaking.attempts.left(given_up) < 0
            break
    assert breaking.attempts.given_up("another") is None


def test_causes_do_not_use_up_each_others_budgets(breaking):
    for _ in range(3):
        assert breaking(RayActorError(error_msg=KILL)) is None
    assert breaking(RayActorError(error_msg=PRESSURE)) is None
    assert breaking(RayActorError(error_msg="gone", preempted=True)) is None
    assert breaking(RayActorError(error_msg=KILL)).cause == KILLED


def test_what_is_told_names_the_iteration_and_the_memory(breaking):
    breaking(RayActorError(error_msg=PRESSURE), training_iteration=12, memory=5, pid=77)
    breaking(RayActorError(error_msg=PRESSURE), name="b", training_iteration=3, memory=2**30, pid=99)
    (first, account), (second, _) = breaking.told
    assert (first.trial, first.iteration, first.memory) == ("a", 12, 1.5 * 2**30)
    assert account == PRESSURE
    assert second.memory == 2**30  # Ray does not name its worker: what it reported last
    assert in_words(second).startswith("out of memory after iteration 3; its worker was seen to use 1,024 MiB: ")


def test_a_worker_that_was_killed_for_its_silence_is_not_tried_again(breaking):
    breaking.attempts.stuck("a", "stop.trial_time: no report for 9 s")
    given_up = breaking(RayActorError(error_msg=KILL))
    assert (given_up.cause, in_words(given_up)) == (STUCK, "stop.trial_time: no report for 9 s")
    assert breaking(RayActorError(error_msg=KILL), name="b") is None
