"""The alias `best` goes to who is judged better, once, whatever the server and others do meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pytest
import wandb
from judged_models import save

from gaelp_ray.checkpoint import load_model
from gaelp_ray.errors import TrackingError
from gaelp_ray.records import Interval
from gaelp_ray.results import Comparison
from gaelp_ray.tracking import process, promotion
from gaelp_ray.tracking.artifacts import Leaderboard, ModelArtifact, Publication, publish_selection
from gaelp_ray.tracking.download import Fetched
from gaelp_ray.tracking.process import SERVICE
from gaelp_ray.tracking.promotion import Incumbent, Judge, Ruling, Terms
from gaelp_ray.tracking.runs import RunIdentity
from gaelp_ray.tracking.server import Server

BOARD = Leaderboard(["trial", "roas"], [["trip-00", 5.0]])
NAME = "team/demo/trip-best"
LOOK = """
import json, wandb
found = wandb.Api().artifact("team/demo/trip-best:best")
print(json.dumps([found.version, sorted(found.aliases), found.metadata]))
"""


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Bounds that a test can wait for, and a process that no server has let down."""
    monkeypatch.setattr(process, "FINISH_SECONDS", 5.0)
    monkeypatch.setattr(promotion, "MOVE_SECONDS", 8.0)
    monkeypatch.setattr("gaelp_ray.tracking.server.ASK_SECONDS", 5.0)
    yield
    SERVICE.__init__()


@dataclass
class Told:
    """Judges by the bids of two constant bidders, and remembers beside whom."""

    bid: float
    refusal: Ruling | None = None
    meanwhile: list = field(default_factory=list)  # what happens while it judges, one a time
    seen: list[str | None] = field(default_factory=list)

    def alone(self) -> Ruling | None:
        return self.refusal

    def against(self, incumbent: Incumbent | None) -> Ruling:
        self.seen.append(incumbent.name if incumbent else None)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if incumbent is None:
            return Ruling(True, True, "nobody else")
        if incumbent.folder is None:
            return Ruling(False, True, incumbent.problem, incumbent.name)
        difference = self.bid - load_model(incumbent.folder).config.constant.bid_multiplier
        found = Comparison(difference, Interval(difference - 0.2, difference + 0.2))
        return Ruling(found.verdict == "above", found.verdict != "below", found.verdict, incumbent.name, found)


@pytest.fixture
def nearby(wandb_server, tmp_path, monkeypatch):
    """A server whose versions are not fetched, which takes seconds: they lie where they were published from."""

    def fetched(name, seconds):
        bid = json.loads(wandb_server.state().artifacts[name].metadata)["bid"]
        return Fetched(tmp_path / str(bid), name, "")

    monkeypatch.setattr(promotion, "fetched", fetched)
    return wandb_server


@pytest.fixture
def publish(tmp_path):
    """Publishes a constant bidder under the name of one sweep; the larger its bid, the better."""

    def publish(bid: float, judge: Judge | None = None, **terms) -> Publication:
        folder = save(str(tmp_path / str(bid)), agent_type="constant", constant={"bid_multiplier": bid})
        (tmp_path / "sweep.yaml").write_text("name: trip\n", encoding="utf-8")
        identity = RunIdentity(f"trip-select-{bid}", "trip-select", "demo", "g", "select", "online")
        terms = Terms(judge or Told(bid), **terms)
        aliases = ("candidate", "trip")
        model = ModelArtifact("trip-best", folder, aliases, {"bid": bid}, terms, [tmp_path / "sweep.yaml"])
        return publish_selection(identity, {}, {}, BOARD, model)

    return publish


def aliases(server) -> dict[str, str]:
    named = server.state().collections["team/demo/trip-best"]
    return {alias: path.rpartition(":")[2] for alias, path in named.items()}


def trained(*ids: str) -> None:
    for id in ids:
        wandb.init(project="demo", id=id).finish()
    wandb.teardown()


def test_the_best_is_the_first_and_then_who_is_above(nearby, publish, tmp_path):
    trained("trip-00-abc")
    first = publish(1.0, trained_by="trip-00-abc")
    assert first == Publication(
        "online", "trip-best", None, "v0", ("best", "candidate", "latest", "trip"), Ruling(True, True, "nobody else")
    )
    for bid, version, verdict, best in (
        (1.1, "v1", "tie", "v0"),
        (0.5, "v2", "below", "v0"),
        (2.0, "v3", "above", "v3"),
    ):
        told = publish(bid)
        assert told.error is None and told.version == version and told.gate.reason == verdict
        assert told.gate.against == f"{NAME}:v0" and told.gate.passed is (verdict != "below")
        assert aliases(nearby) == {"best": best, "candidate": version, "trip": version, "latest": version}
        assert ("best" in told.aliases) is told.gate.promoted is (verdict == "above")
        summary = nearby.run(f"demo/trip-select-{bid}").summary
        assert (summary["gate/verdict"], summary["gate/promoted"]) == (verdict, verdict == "above")
        assert summary["gate/difference"] == pytest.approx(bid - 1.0)
    seen = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout
    assert json.loads(seen.splitlines()[-1]) == [
        "v3", ["best", "candidate", "latest", "trip"], {"bid": 2.0, "trained_by": {}}
    ]  # fmt: skip


def test_the_version_has_the_sweep_and_the_run_that_trained_it(wandb_server, publish):
    trained("trip-00-abc")
    before = wandb_server.run("demo/trip-00-abc")
    assert publish(1.0, trained_by="trip-00-abc").error is None
    version = wandb_server.state().artifacts[f"{NAME}:v0"]
    assert set(version.files) == {"model.json", "model.npz", "sweep.yaml"}
    origin = {
        "run": "trip-00-abc",
        "path": "team/demo/trip-00-abc",
        "url": f"{wandb_server.url}/team/demo/runs/trip-00-abc",
    }
    assert json.loads(version.metadata)["trained_by"] == origin
    assert version.run == "team/demo/trip-select-1.0"
    summary = wandb_server.run("demo/trip-select-1.0").summary
    assert {name: summary[f"trained_by/{name}"] for name in origin} == origin
    after = wandb_server.run("demo/trip-00-abc")
    assert after.logged == [f"{NAME}:v0"]
    # It was not opened again.
    assert (after.state, after.heartbeat_at, after.summary) == (before.state, before.heartbeat_at, before.summary)


def test_the_present_best_is_fetched_as_the_server_has_it(wandb_server, publish, tmp_path):
    publish(1.0)
    shutil.rmtree(tmp_path / "1.0")
    told = publish(2.0)
    assert (told.gate.reason, told.gate.against) == ("above", f"{NAME}:v0")
    assert told.gate.comparison is not None and told.gate.comparison.difference == 1.0


def test_the_same_again_is_the_best_already(wandb_server, publish):
    publish(1.0)
    again = Told(1.0)
    told = publish(1.0, again)
    assert told.gate == Ruling(True, True, f"{NAME}:v0 is the best already", standing=True)
    assert (told.version, again.seen, "best" in told.aliases) == ("v0", [], True)
    assert wandb_server.run("demo/trip-select-1.0").summary["gate/reason"] == "nobody else"


def test_a_refused_model_is_a_candidate_and_flies_against_nobody(wandb_server, publish):
    judge = Told(1.0, Ruling(False, False, "roas 3.20 is below min_roas 4.5"))
    told = publish(1.0, judge, registry="wandb-registry-bidders/trip-best")
    assert told.gate == judge.refusal and told.error is None and judge.seen == []
    assert aliases(wandb_server) == dict.fromkeys(("candidate", "trip", "latest"), "v0")
    assert "team-org/wandb-registry-bidders/trip-best" not in wandb_server.state().collections


@pytest.mark.parametrize("registry", ["wandb-registry-bidders/champion", "team-org/wandb-registry-bidders/champion"])
def test_only_the_best_is_linked_to_the_registry(nearby, publish, registry):
    publish(1.0, registry=registry)
    publish(0.5, registry=registry)
    linked = nearby.state().collections["team-org/wandb-registry-bidders/champion"]
    assert linked["best"] == f"{NAME}:v0"
    publish(2.0, registry=registry)
    linked = nearby.state().collections["team-org/wandb-registry-bidders/champion"]
    assert linked["best"] == f"{NAME}:v2"
    assert aliases(nearby)["best"] == "v2"


def test_a_registry_that_refuses_is_told_and_linked_when_published_again(wandb_server, publish):
    told = publish(1.0, registry="other-org/wandb-registry-bidders/champion")
    assert told.error.startswith(f"{NAME}:v0 is not in the registry other-org/wandb-registry-bidders/champion: ")
    assert "\n" not in told.error
    assert told.gate.promoted and "best" in told.aliases and aliases(wandb_server)["best"] == "v0"
    again = publish(1.0, registry="wandb-registry-bidders/champion")
    assert again.error is None and again.gate.standing
    assert "team-org/wandb-registry-bidders/champion" in wandb_server.state().collections


def test_whoever_became_the_best_meanwhile_is_the_one_to_beat(nearby, publish, tmp_path):
    publish(1.0)
    publish(1.15)  # a tie: v1 stays a candidate
    publish(3.0, Told(3.0, Ruling(False, True, "kept out")))
    moves = [lambda: give_best("v1"), lambda: give_best("v2")]
    judge = Told(2.0, meanwhile=moves)
    told = publish(2.0, judge)
    assert judge.seen == [f"{NAME}:v0", f"{NAME}:v1", f"{NAME}:v2"]
    assert (told.gate.reason, told.gate.against) == ("below", f"{NAME}:v2")
    assert aliases(nearby)["best"] == "v2" and told.error is None


def test_an_alias_that_never_rests_is_told(nearby, publish):
    publish(1.0)
    publish(1.15)
    moves = [lambda: give_best("v1"), lambda: give_best("v0"), lambda: give_best("v1"), lambda: give_best("v0")]
    judge = Told(2.0, meanwhile=moves)
    told = publish(2.0, judge)
    assert len(judge.seen) == promotion.ATTEMPTS == 3
    assert told.gate is None and told.version == "v2"
    assert told.error == (f"{nearby.url} has not made {NAME}:v2 the best: others move the alias at the same time")


def test_who_loses_the_alias_at_once_is_judged_again(nearby, publish, monkeypatch):
    publish(1.0)
    publish(3.0, Told(3.0, Ruling(False, True, "kept out")))
    give, rivals = promotion._give_best, [lambda: give_best("v1")]

    def give_and_lose(name):
        give(name)
        if rivals:
            rivals.pop()()

    monkeypatch.setattr(promotion, "_give_best", give_and_lose)
    judge = Told(2.0)
    told = publish(2.0, judge)
    assert judge.seen == [f"{NAME}:v0", f"{NAME}:v1"] and told.gate.reason == "below"
    assert aliases(nearby)["best"] == "v1" and "best" not in told.aliases


def give_best(version: str) -> None:
    """As another publisher, or a person in the browser."""
    artifact = wandb.Api().artifact(f"{NAME}:{version}")
    artifact.aliases.append("best")
    artifact.save()


def test_a_best_that_is_no_model_is_told_to_the_judge(wandb_server, publish, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing", encoding="utf-8")
    with wandb.init(project="demo", id="maker") as run:
        artifact = wandb.Artifact("trip-best", type="model")
        artifact.add_file(str(tmp_path / "notes.txt"))
        run.log_artifact(artifact, aliases=["best"]).wait()
    wandb.teardown()
    told = publish(1.0)
    assert "model.json is missing" in told.gate.reason and told.gate.against == f"{NAME}:v0"
    assert aliases(wandb_server)["best"] == "v0" and told.error is None


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("any", "down"), ("ArtifactNamed", "hang"), ("AddAliases", "hang"), ("AddAliases", "status")],
)
def test_server_that_dies_between_the_log_and_the_promotion(nearby, publish, operation, kind):
    publish(1.0)
    judge = Told(2.0)
    if kind == "down":  # from here on
        judge.meanwhile.append(nearby.down)
    else:
        nearby.fault("graphql", kind, seconds=60, operation=operation)
    started = time.monotonic()
    told = publish(2.0, judge)
    assert time.monotonic() - started < 45
    assert (told.artifact, told.version) == ("trip-best", "v1")
    assert told.error and "\n" not in told.error and told.gate is None
    assert told.aliases == ("candidate", "trip")
    nearby.clear()
    nearby.up()
    assert aliases(nearby)["best"] == "v0"
    again = publish(2.0)
    assert again.error is None and again.gate.promoted and aliases(nearby)["best"] == "v1"


def test_a_move_that_the_server_does_not_show_is_not_told_as_done(nearby, publish, monkeypatch):
    publish(1.0)
    monkeypatch.setattr(promotion, "_give_best", lambda name: None)
    told = publish(2.0)
    assert told.gate is None and "has not made" in told.error and aliases(nearby)["best"] == "v0"


def test_what_takes_too_long_is_a_timeout(monkeypatch):
    monkeypatch.setattr(promotion, "MOVE_SECONDS", 0.05)
    with pytest.raises(TimeoutError, match="has not taken the link within 0 s"):
        promotion._bounded("the link", lambda: time.sleep(0.5))
    with pytest.raises(TrackingError, match="no"):
        promotion._bounded("the link", lambda: (_ for _ in ()).throw(TrackingError("no")))


def test_what_a_name_means_is_asked_in_bounded_time(nearby, publish):
    for bid in (1.0, 0.5):
        assert publish(bid, registry="wandb-registry-bidders/champion").error is None
    server = Server.configured()
    held = server.artifact("team/demo", "trip-best:best")
    assert held is not None and (held.version, held.aliases) == ("v0", ("best",))  # in its own collection
    assert server.artifact("team/demo", "trip-best:v0") == held
    assert server.artifact("team/demo", "trip-best:worst") is server.artifact("team/other", "trip-best:best") is None
    assert nearby.state().unknown == []
    nearby.fault("graphql", "hang", seconds=60, operation="ArtifactNamed")
    started = time.monotonic()
    with pytest.raises(TrackingError, match="does not answer"):
        server.artifact("team/demo", "trip-best:best")
    assert time.monotonic() - started < 20
