"""A model artifact comes to this machine once, whole, and without wandb in the process that asks for it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ModelError, TrackingError
from gaelp_ray.tracking import download
from gaelp_ray.tracking.download import NoSuchArtifact, fetched, is_reference
from gaelp_ray.worlds import untrained, world_of

ASK = """
import sys
from gaelp_ray.tracking.download import fetched
print(fetched(sys.argv[1]).folder)
print(*({"wandb", "ray"} & set(sys.modules)))
"""


@pytest.fixture
def model(tmp_path) -> Path:
    config = GAELPExperimentConfig(agent_type="constant")
    world = world_of(config)
    save_model(tmp_path / "model", Model(untrained(world, config), config, world, {"trial": "trip-03"}))
    return tmp_path / "model"


@pytest.fixture
def published(wandb_server, model):
    """A server with the model, and with a data set, both called best."""
    with wandb.init(project="demo", id="maker") as run:
        for name, kind in (("trip-best", "model"), ("table", "dataset")):
            artifact = wandb.Artifact(name, type=kind)
            artifact.add_dir(str(model))
            run.log_artifact(artifact, aliases=["best"]).wait()
    wandb.teardown()
    return wandb_server


def test_model_comes_as_it_was_published_and_once(published):
    found = fetched("team/demo/trip-best:best")
    assert found.artifact == "team/demo/trip-best:v0"
    assert load_model(found.folder).about == {"trial": "trip-03"}
    got = len(published.requests("storage"))
    assert got > 0
    assert fetched("demo/trip-best:v0") == found
    assert len(published.requests("storage")) == got
    assert [path.name for path in found.folder.parent.iterdir()] == [found.folder.name]


class Raced:
    """An artifact that another process brings to the same folder meanwhile."""

    def __init__(self, model: Path, folder: Path, damaged: bool = False):
        self.model, self.folder, self.damaged = model, folder, damaged
        self.verified = []

    def download(self, root: str, **_):
        for target in (root, self.folder):
            shutil.copytree(self.model, target)

    def verify(self, root: str):
        self.verified.append(Path(root))
        if self.damaged and Path(root) == self.folder:
            raise ValueError("Digest mismatch")


def test_of_two_who_come_first_both_have_the_model(model, tmp_path):
    folder = tmp_path / "cache/digest"
    raced = Raced(model, folder)
    download._into(folder, raced)
    assert raced.verified[-1] == folder and list(folder.parent.iterdir()) == [folder]
    with pytest.raises(ValueError, match="mismatch"):
        download._into(tmp_path / "cache/other", Raced(model, tmp_path / "cache/other", damaged=True))


def test_who_asks_imports_neither_wandb_nor_ray(published):
    words = [sys.executable, "-c", ASK, "team/demo/trip-best:best"]
    folder, imported = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\n")[:2]
    assert (Path(folder) / "model.npz").is_file()
    assert imported == ""


@pytest.mark.parametrize(
    ("reference", "kind", "complaint"),
    [
        (
            "team/demo/trip-best:worst",
            NoSuchArtifact,
            "has no artifact team/demo/trip-best:worst; there are best, latest, v0",
        ),
        ("team/demo/trap-best:best", NoSuchArtifact, "has no artifact team/demo/trap-best:best"),
        ("team/demo/table:best", ModelError, "is an artifact of type 'dataset', not a model"),
    ],
)
def test_what_is_not_there_is_one_line(published, reference, kind, complaint):
    with pytest.raises(ModelError) as refused:
        fetched(reference)
    assert type(refused.value) is kind
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


def test_model_of_an_environment_that_is_not_here_is_no_fault_of_the_server(wandb_server, shop, tmp_path):
    home = shop()
    config = GAELPExperimentConfig(agent_type="PPO", env="shop:Shop", ppo={"reference": "none"})
    world = world_of(config)
    save_model(tmp_path / "model", Model(untrained(world, config), config, world, {}))
    with wandb.init(project="demo", id="maker") as run:
        artifact = wandb.Artifact("trip-best", type="model")
        artifact.add_dir(str(tmp_path / "model"))
        run.log_artifact(artifact, aliases=["best"]).wait()
    wandb.teardown()
    (home / "shop.py").unlink()
    with pytest.raises(ModelError, match="no module 'shop'") as refused:
        fetched("team/demo/trip-best:best")
    assert type(refused.value) is ModelError


def test_artifact_that_holds_no_model_does_not_stay(wandb_server, tmp_path):
    (tmp_path / "empty.txt").write_text("nothing", encoding="utf-8")
    with wandb.init(project="demo", id="maker") as run:
        artifact = wandb.Artifact("trip-best", type="model")
        artifact.add_file(str(tmp_path / "empty.txt"))
        run.log_artifact(artifact, aliases=["best"]).wait()
    wandb.teardown()
    with pytest.raises(ModelError, match=r"no model in .*model\.json is missing"):
        fetched("team/demo/trip-best:best")
    assert list(download.model_cache().iterdir()) == []


def test_server_that_is_away_is_one_line(published, monkeypatch):
    published.down()
    with pytest.raises(TrackingError, match="does not answer"):
        fetched("team/demo/trip-best:best")
    published.up()
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with pytest.raises(TrackingError, match="refuses the W&B key") as refused:
        fetched("team/demo/trip-best:best")
    assert "f" * 40 not in str(refused.value)
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(TrackingError, match="no W&B key is set"):
        fetched("team/demo/trip-best:best")


def test_server_that_hangs_in_the_middle_is_not_waited_for(published):
    published.fault("storage", "hang", seconds=120)
    with pytest.raises(TrackingError, match="has not sent it within 6 s"):
        fetched("team/demo/trip-best:best", 6.0)
    published.clear()
    assert load_model(fetched("team/demo/trip-best:best").folder)


@pytest.mark.parametrize(
    "text", ["team/demo/trip-best:best", "demo/trip-best:v3", "org/wandb-registry-model/bidder:prod"]
)
def test_references(text):
    assert is_reference(text)


@pytest.mark.parametrize(
    "text", ["quickstart", "results/quickstart", "s3://bucket/trip", "a/b/c/d:best", "trip:best", "/x/y:z"]
)
def test_what_is_none(text):
    assert not is_reference(text)
