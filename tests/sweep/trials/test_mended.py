"""Defects of Ray's Tune, mended while a search runs. The other one is proven by a worker that its memory kills."""

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
