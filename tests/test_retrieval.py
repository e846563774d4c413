"""A model is found by whatever a person calls it, and what is not there is one line."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import wandb
from begun_sweeps import claimed
from judged_models import save
from typer.testing import CliRunner

from gaelp_ray import load_best
from gaelp_ray.checkpoint import load_model
from gaelp_ray.cli.main import app
from gaelp_ray.errors import ModelError, StorageError
from gaelp_ray.retrieval import find_model

ACT = """
import sys, numpy
import gaelp_ray
agent = gaelp_ray.load_best(*sys.argv[1:])
agent.begin(3, numpy.random.default_rng(0))
print(agent.act(numpy.zeros((3, 99), numpy.float32)).shape)
print(*({"ray", "wandb", "torch", "optuna", "matplotlib"} & set(sys.modules)))
"""


def sweep(storage: Path, name: str = "trip", winner: str | None = "trip-03", **best) -> Path:
    """A finished sweep, with the model that it chose."""
    folder = claimed(storage, name, overwrite=False)
    folder.write_start({"name": name, "seed": 0}, {"id": "abc"})
    save(str(folder.best), agent_type="constant", **best)
    record = {"winner": {"trial": winner} if winner else None, "reason": "because", "leaderboard": []}
    folder.write_end(record, [{"trial": "trip-03"}])
    return folder.path


def published(model: Path, name: str = "trip-best") -> None:
    with wandb.init(project="demo", id="maker") as run:
        artifact = wandb.Artifact(name, type="model")
        artifact.add_dir(str(model))
        run.log_artifact(artifact, aliases=["best"]).wait()
    wandb.teardown()


def test_a_sweep_by_name_by_folder_and_a_models_folder_are_the_same_model(tmp_path):
    folder = sweep(tmp_path)
    by_name, by_folder = find_model("trip", tmp_path), find_model(folder, "elsewhere")
    assert by_name == by_folder
    assert (by_name.folder, by_name.chosen) == (folder / "best", {"trial": "trip-03"})
    assert find_model(folder / "best").folder == folder / "best"
    assert find_model(folder / "best").chosen == {}


def test_the_best_agent_acts(tmp_path):
    folder = sweep(tmp_path, constant={"bid_multiplier": 2.0})
    obs = np.zeros((3, 99), dtype=np.float32)
    wanted = load_model(folder / "best").agent.act(obs)
    np.testing.assert_array_equal(load_best("trip", tmp_path).act(obs), wanted)


def test_load_best_acts_on_one_flight_as_on_a_batch_of_it(tmp_path):
    env = gymnasium.make("gaelp/AdCampaign-v0")
    obs, _ = env.reset(seed=3)
    agent = load_best(save(str(tmp_path / "model")))
    agent.begin(1, np.random.default_rng(0))
    one = agent.act(obs)
    assert env.action_space.contains(one)
    agent.begin(1, np.random.default_rng(0))
    np.testing.assert_array_equal(agent.act(obs[None]), one[None])


def test_what_only_has_its_best_model_left_is_found(tmp_path):
    save(str(tmp_path / "copied" / "best"))
    assert find_model(tmp_path / "copied").folder == tmp_path / "copied" / "best"


def test_an_artifact_is_fetched_and_acts_in_a_process_without_ray_and_wandb(wandb_server, tmp_path):
    published(save(str(tmp_path / "model"), agent_type="constant"))
    for words in (["team/demo/trip-best:best"], [str(tmp_path / "model")]):
        done = subprocess.run([sys.executable, "-c", ACT, *words], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == ["(3, 7)", ""]


def test_the_command_fetches_an_artifact_and_says_what_it_is(wandb_server, tmp_path):
    about = {"trial": "trip-07", "evaluation": {"roas": 5.0, "roas_low": 4.5, "roas_high": 5.5, "delivery": 0.97}}
    published(save(str(tmp_path / "model"), about=about))
    words = ["best", "team/demo/trip-best:best", "-o", str(tmp_path / "out")]
    said = CliRunner().invoke(app, words, catch_exceptions=False).output
    assert "trip-07: BayesDual for airfrance-search, ROAS 5.000 (4.500 to 5.500), delivery 97.0%" in said
    assert load_model(tmp_path / "out").about == about
    told = json.loads(CliRunner().invoke(app, [*words[:2], "--json"], catch_exceptions=False).output)
    assert (told["trial"], told["evaluation"]["roas"], Path(told["model"]).is_dir()) == ("trip-07", 5.0, True)


def test_a_name_that_means_two_things_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep(tmp_path / "results")
    save("trip")
    with pytest.raises(
        ModelError, match=r"is both a model's folder and a sweep in results: write \./trip or results/trip"
    ):
        find_model("trip")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ModelError, match="is both a model's folder and a sweep in ~/results"):
        find_model("trip", "~/results")
    assert find_model("./trip").folder == Path("trip")
    assert find_model("results/trip").chosen == {"trial": "trip-03"}
    assert find_model(tmp_path / "trip").chosen == {}


def test_a_sweep_without_a_winner_or_an_end_has_none(tmp_path):
    sweep(tmp_path, winner=None)
    with pytest.raises(StorageError, match="has no winner: because"):
        find_model("trip", tmp_path)
    claimed(tmp_path, "begun", overwrite=False).write_start({"name": "begun"}, {"id": "b"})
    with pytest.raises(StorageError, match="has not finished"):
        find_model("begun", tmp_path)


def test_a_damaged_model_is_noticed(tmp_path):
    folder = sweep(tmp_path)
    (folder / "best" / "model.npz").write_bytes(b"other weights")
    with pytest.raises(ModelError, match=r"model\.npz is damaged: its SHA-256 is"):
        load_best("trip", tmp_path)


def test_what_is_nowhere_is_said_with_what_is_near(tmp_path):
    sweep(tmp_path)
    with pytest.raises(StorageError, match=r"no model in tripp, and no sweep 'tripp' in .*Did you mean 'trip'\?"):
        find_model("tripp", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"model\.json is missing"):
        load_best(tmp_path / "empty")
