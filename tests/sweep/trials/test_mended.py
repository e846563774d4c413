"""Defects of Ray's Tune, mended while a search runs. That of a worker that its memory kills is proven by one."""

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError, UnserializableException
from ray.tune.execution import class_cache

from gaelp_ray.sweep.trials.mended import tune_mended


def test_keys_of_aws_are_in_no_runtime_env(monkeypatch):
    """Ray writes a runtime_env to a log on every node."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    handed_on = class_cache.ENV_VARS_TO_PROPAGATE

    class Trainable:
        pass

    def told():
        return class_cache._ActorClassCache().get(Trainable)._default_options["runtime_env"]["env_vars"]

    assert "hush" in told().values()  # or a newer Ray does it no more, and this mending can go
    with tune_mended():
        assert "hush" not in told().values()
        assert "PL_DISABLE_FORK" in told()
    assert class_cache.ENV_VARS_TO_PROPAGATE is handed_on


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (UnserializableException("shop.Closed: (4, 'today')"), RayTaskError),  # the trial's own, with two arguments
        (OutOfMemoryError("memory"), RayActorError),
        (RayActorError(), RayActorError),
        (ValueError("of Tune's own"), ValueError),
    ],
)
def test_tune_gets_the_two_kinds_of_failures_that_it_knows(raised, kind, monkeypatch):
    heard = []
    monkeypatch.setattr(RayActorManager, "_actor_task_failed", lambda self, task, exception: heard.append(exception))
    with tune_mended():
        RayActorManager._actor_task_failed(None, None, raised)
    assert type(heard[0]) is kind
