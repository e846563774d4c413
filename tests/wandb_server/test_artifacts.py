"""Models are logged, found by alias, downloaded, used, and linked to a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.errors import CommError

from wandb_server import StandIn
from wandb_server.artifacts import MUTATIONS
from wandb_server.store import Refused, Store

pytestmark = pytest.mark.slow


def log(run: Any, folder: Path, text: str, aliases: tuple[str, ...] = ("best",)) -> Any:
    file = folder / "model.txt"
    file.write_text(text, encoding="utf-8")
    model = wandb.Artifact("model", type="model", metadata={"roas": len(text)})
    model.add_file(str(file))
    return run.log_artifact(model, aliases=list(aliases)).wait(timeout=20)


@pytest.fixture
def two(wandb_server: StandIn, tmp_path: Path) -> StandIn:
    """A run `maker` that logged two versions, of which the second is the best."""
    with wandb.init(project="demo", id="maker") as run:
        log(run, tmp_path, "one")
        log(run, tmp_path, "second")
    return wandb_server


def content(artifact: Any, folder: Path) -> str:
    return (Path(artifact.download(root=str(folder))) / "model.txt").read_text(encoding="utf-8")


def test_versions_and_aliases_are_in_the_state(two: StandIn) -> None:
    state = two.state()
    first, second = state.artifacts["team/demo/model:v0"], state.artifacts["team/demo/model:v1"]
    assert (first.state, first.aliases) == ("COMMITTED", [])
    assert (second.state, sorted(second.aliases)) == ("COMMITTED", ["best", "latest"])
    assert first.digest != second.digest
    assert second.files["model.txt"].size == 6
    assert state.collections["team/demo/model"] == dict.fromkeys(["best", "latest"], "team/demo/model:v1")
    assert state.runs["team/demo/maker"].logged == ["team/demo/model:v0", "team/demo/model:v1"]
    assert state.operations["CommitArtifact"] == 2


def test_the_same_bytes_make_no_new_version(two: StandIn, tmp_path: Path) -> None:
    with wandb.init(project="demo", id="again") as run:
        assert log(run, tmp_path, "second", ("again",)).version == "v1"
    assert "again" in two.state().artifacts["team/demo/model:v1"].aliases
    assert len(two.state().artifacts) == 2


def test_an_artifact_is_found_by_alias_and_downloaded(two: StandIn, tmp_path: Path) -> None:
    found = wandb.Api().artifact("demo/model:best")
    assert (found.version, found.metadata, sorted(found.aliases)) == ("v1", {"roas": 6}, ["best", "latest"])
    assert found.logged_by().id == "maker"
    assert content(found, tmp_path / "got") == "second"
    assert content(wandb.Api().artifact("demo/model:v0"), tmp_path / "first") == "one"


def test_an_alias_that_is_not_there(two: StandIn) -> None:
    assert not wandb.Api().artifact_exists("demo/model:worst")
    with pytest.raises(CommError, match="worst"):
        wandb.Api().artifact("demo/model:worst")


def test_versions_of_a_collection_newest_first(two: StandIn) -> None:
    api = wandb.Api()
    assert [one.version for one in api.artifacts("model", "demo/model")] == ["v1", "v0"]
    assert [one.name for one in api.artifact_type("model", "demo").collections()] == ["model"]
    assert [one.name for one in api.run("demo/maker").logged_artifacts()] == ["model:v0", "model:v1"]


def test_a_run_uses_an_artifact(two: StandIn, tmp_path: Path) -> None:
    with wandb.init(project="demo", id="user") as run:
        assert content(run.use_artifact("model:best"), tmp_path / "used") == "second"
    assert two.run("demo/user").used == ["team/demo/model:v1"]
    assert [run.id for run in wandb.Api().artifact("demo/model:v1").used_by()] == ["user"]


def test_aliases_move_and_metadata_changes(two: StandIn) -> None:
    first = wandb.Api().artifact("demo/model:v0")
    first.aliases.append("best")
    first.metadata["roas"] = 9
    first.save()
    assert two.state().collections["team/demo/model"]["best"] == "team/demo/model:v0"
    assert wandb.Api().artifact("demo/model:best").metadata == {"roas": 9}
    first.aliases.remove("best")
    first.save()
    assert "best" not in two.state().collections["team/demo/model"]


def test_a_version_is_linked_to_a_registry(two: StandIn, tmp_path: Path) -> None:
    best = wandb.Api().artifact("demo/model:best")
    with wandb.init(project="demo", id="linker") as run:
        run.link_artifact(best, "wandb-registry-model/champion", aliases=["production"])
    champion = wandb.Api().artifact("wandb-registry-model/champion:production")
    assert (champion.qualified_name, champion.source_qualified_name) == (
        "team-org/wandb-registry-model/champion:production",
        "team/demo/model:v1",
    )
    assert content(champion, tmp_path / "champion") == "second"
    aliases = two.state().collections["team-org/wandb-registry-model/champion"]
    assert aliases == dict.fromkeys(["production", "latest"], "team/demo/model:v1")


def test_a_run_that_is_over_is_named_as_one_that_made_a_version(two: StandIn) -> None:
    with wandb.init(project="demo", id="trainer"):
        pass
    before = two.run("demo/trainer")
    wandb.Api().run("team/demo/trainer").log_artifact(wandb.Api().artifact("demo/model:v0"))
    after, state = two.run("demo/trainer"), two.state()
    assert after.logged == ["team/demo/model:v0"] and after.heartbeat_at == before.heartbeat_at
    assert len(state.artifacts) == 2 and state.artifacts["team/demo/model:v0"].run == "team/demo/maker"
    assert state.collections["team/demo/model"]["best"] == "team/demo/model:v1"
    assert state.unknown == []


def test_an_artifact_without_its_files_is_not_committed() -> None:
    store = Store("http://nowhere.invalid", 300.0)
    given = {"entityName": "team", "projectName": "demo", "artifactCollectionName": "model"}
    MUTATIONS["createArtifact"](store, {**given, "artifactTypeName": "model", "digest": "d"})
    (artifact,) = store.artifacts.values()
    with pytest.raises(Refused, match="model:v0 has no manifest"):
        MUTATIONS["commitArtifact"](store, {"artifactID": artifact.id})
    with pytest.raises(Refused, match="has type model, not data"):
        MUTATIONS["createArtifact"](store, {**given, "artifactTypeName": "data", "digest": "d"})
