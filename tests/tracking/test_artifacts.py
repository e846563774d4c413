"""The final stage is published once, however often it is, and is told as published only where it is all there."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import wandb

from gaelp_ray.tracking import artifacts, process
from gaelp_ray.tracking.artifacts import Leaderboard, ModelArtifact, Publication, publish_selection
from gaelp_ray.tracking.offline import offline_runs
from gaelp_ray.tracking.process import SERVICE
from gaelp_ray.tracking.promotion import Ruling, Terms
from gaelp_ray.tracking.runs import RunIdentity
from gaelp_ray.tracking.server import Server

PUBLISHED = ("candidate", "latest", "trip")
BOARD = Leaderboard(["trial", "roas"], [["trip-00", 5.0], ["trip-01", None]])
COMMIT, FINISH = (artifacts, "COMMIT_SECONDS", 4), (process, "FINISH_SECONDS", 1.0)


class Waved:
    """Lets everybody pass; promotion is not what is tested here."""

    def alone(self):
        return Ruling(False, True, "as it is")

    def against(self, incumbent):
        raise AssertionError(incumbent)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """A process that asks often, and that no server has let down."""
    monkeypatch.setattr(artifacts, "WAIT_SECONDS", 2)
    yield
    SERVICE.__init__()


@pytest.fixture
def bounded(monkeypatch):
    """A block in which nobody waits for long for what will not come."""

    @contextmanager
    def bounded(*bounds):
        with monkeypatch.context() as patch:
            for module, name, seconds in bounds:
                patch.setattr(module, name, seconds)
            yield

    return bounded


@pytest.fixture
def best(tmp_path) -> Path:
    folder = tmp_path / "best"
    folder.mkdir()
    (folder / "model.json").write_text("{}", encoding="utf-8")
    (folder / "model.npz").write_bytes(b"weights")
    return folder


def publish(best: Path, mode: str = "online", board: Leaderboard = BOARD, winner: str = "trip-00") -> Publication:
    identity = RunIdentity("trip-select", "trip-select", "demo", "g", "select", mode)
    model = ModelArtifact("trip-best", best, ("candidate", "trip"), {"params": {"x": 1}}, Terms(Waved()))
    return publish_selection(identity, {"method": "random"}, {"winner": winner}, board, model)


def versions(server, kind: str = "model") -> dict:
    return {path: found for path, found in server.state().artifacts.items() if found.type == kind}


def test_artifact_is_published_when_the_server_has_all_of_it(wandb_server, best):
    assert publish(best) == Publication("online", "trip-best", None, "v0", PUBLISHED, Waved().alone())
    ((path, found),) = versions(wandb_server).items()
    assert path == "team/demo/trip-best:v0" and found.state == "COMMITTED"
    assert set(found.files) == {"model.json", "model.npz"}
    assert {"candidate", "trip"} <= set(found.aliases)
    run = wandb_server.run("demo/trip-select")
    assert (len(run.history), run.summary["winner"], run.exit_code) == (1, "trip-00", 0)


def test_the_same_again_adds_nothing(wandb_server, best):
    publish(best)
    assert publish(best) == Publication("online", "trip-best", None, "v0", PUBLISHED, Waved().alone())
    assert len(versions(wandb_server)) == len(versions(wandb_server, "run_table")) == 1
    run = wandb_server.run("demo/trip-select")
    assert (len(run.received), run.state) == (1, "finished")


def test_another_decision_is_a_new_row_and_a_new_version(wandb_server, best):
    publish(best)
    (best / "model.npz").write_bytes(b"better weights")
    assert publish(best, board=Leaderboard(["trial"], [["trip-07"]]), winner="trip-07").version == "v1"
    run = wandb_server.run("demo/trip-select")
    assert [row["leaderboard"]["ncols"] for row in run.history] == [2, 1]
    assert run.summary["winner"] == "trip-07"
    aliases = {found.version: set(found.aliases) for found in versions(wandb_server).values()}
    assert aliases[0] == set() and set(PUBLISHED) == aliases[1]


def test_sweep_without_a_winner_is_a_failed_run_without_an_artifact(wandb_server):
    identity = RunIdentity("trip-select", "trip-select", "demo", "g", "select", "online")
    assert publish_selection(identity, {}, {"winner": None}, BOARD, None) == Publication("online", None)
    assert wandb_server.run("demo/trip-select").exit_code == 1
    assert versions(wandb_server) == {}


@pytest.mark.parametrize(
    ("where", "bounds"),
    [
        ("down", []),
        ("any", [(artifacts, "PROBE_SECONDS", 1.0)]),
        ("UpsertBucket", [(process, "INIT_SECONDS", 1.5)]),
        ("CreateArtifact", [COMMIT, FINISH]),
        ("filestream", [FINISH]),
    ],
)
def test_server_in_trouble_is_told_in_bounded_time_and_all_is_published_later(
    wandb_server, best, bounded, where, bounds
):
    if where == "down":
        wandb_server.down()
    elif where in ("any", "filestream"):
        wandb_server.fault(where, "hang", seconds=60)
    else:
        wandb_server.fault("graphql", "hang", seconds=60, operation=where)
    started = time.monotonic()
    with bounded(*bounds):
        told = publish(best)
    assert time.monotonic() - started < 30
    assert told.error and "\n" not in told.error
    # Of rows that hang, the artifact knows nothing: it is there, and only the run has no end.
    assert (told.artifact, told.version) == (("trip-best", "v0") if where == "filestream" else (None, None))
    wandb_server.clear()
    wandb_server.up()
    assert publish(best).error is None
    ((_, found),) = ((path, one) for path, one in versions(wandb_server).items() if one.state == "COMMITTED")
    assert set(found.files) == {"model.json", "model.npz"}
    assert [row["leaderboard"]["nrows"] for row in wandb_server.run("demo/trip-select").history][-1] == 2


def test_artifact_that_the_server_does_not_confirm_is_not_published(wandb_server, best, monkeypatch):
    monkeypatch.setattr(artifacts.Server, "committed", lambda self, id, digest: None)
    told = publish(best)
    assert told.artifact is None
    assert told.error == f"{wandb_server.url} has not confirmed the artifact trip-best"


def test_half_an_artifact_and_another_one_are_not_confirmed(wandb_server, best, bounded):
    server = Server.configured()
    with_fault = wandb_server.fault("storage", status=500)
    with bounded(COMMIT, FINISH):
        assert publish(best).error and with_fault.hits
    ((_, half),) = versions(wandb_server).items()
    assert half.state != "COMMITTED" and server.committed(half.id, half.digest) is None
    wandb_server.clear()
    publish(best)
    (whole,) = (found for found in versions(wandb_server).values() if found.state == "COMMITTED")
    assert server.committed(whole.id, whole.digest) == f"v{whole.version}"
    assert server.committed(whole.id, "another") is None
    assert server.committed("unknown", whole.digest) is None


def test_offline_there_is_one_run_however_often(wandb_server, best, tmp_path):
    for winner in ("trip-00", "trip-01"):
        assert publish(best, "offline", winner=winner) == Publication(
            "offline", "trip-best", aliases=("candidate", "trip")
        )
    (run,) = offline_runs(tmp_path / "wandb")
    assert (run.id, run.summary["winner"], len(run.history), run.exit_code) == ("trip-select", "trip-01", 1, 0)
    assert wandb_server.requests() == []


def test_what_was_published_offline_is_published_online_later(wandb_server, best, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        publish(best, "offline")
    assert publish(best).version == "v0"


def test_disabled_publishes_nothing(best):
    assert publish(best, "disabled") == Publication("disabled", None)


def test_key_is_not_told(wandb_server, best, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    told = publish(best)
    assert "refuses the W&B key" in str(told.error) and "f" * 40 not in str(told)
    monkeypatch.delenv("WANDB_API_KEY")
    assert "no W&B key is set" in str(publish(best).error)
    assert wandb.run is None and "f" * 40 not in os.environ.values()
