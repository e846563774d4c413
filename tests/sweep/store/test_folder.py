"""A sweep's folder: who may claim it, how it is found again, and what a damaged one says."""

import csv
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from begun_sweeps import claimed

from gaelp_ray.agents import make_agent
from gaelp_ray.checkpoint import Model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ModelError, StorageError
from gaelp_ray.market import load_market
from gaelp_ray.retrieval import load_best
from gaelp_ray.sweep.store.folder import SweepFolder, sweeps_in
from gaelp_ray.sweep.store.journal import End, Journal

ROWS = [{"rank": 1, "trial": "a", "params": {"x": 1}}, {"rank": 2, "trial": "b", "params": {}}]


def contents(folder: SweepFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def started(storage: Path, name: str) -> SweepFolder:
    folder = claimed(storage, name, overwrite=False)
    folder.write_start({"name": name, "seed": 0}, {"id": "abc", "load": math.nan})
    return folder


def finished(storage: Path, name: str = "trip") -> SweepFolder:
    folder = started(storage, name)
    folder.write_end({"winner": {"trial": "a"}, "reason": "best", "leaderboard": [], "roas": math.nan}, ROWS)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_new_sweep_gets_an_empty_folder_and_its_storage_is_made(tmp_path):
    folder = claimed(tmp_path / "deep" / "results", "trip", overwrite=False)
    assert folder.path == tmp_path / "deep" / "results" / "trip"
    assert contents(folder) == [".lock"]
    assert (folder.best, folder.wandb) == (folder.path / "best", folder.path / "wandb")


def test_claiming_leaves_nothing_else_in_the_storage(tmp_path):
    claimed(tmp_path, "trip", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["trip"]


def test_existing_sweep_is_refused_with_the_remedies_and_stays_as_it_is(tmp_path):
    before = everything(finished(tmp_path).path)
    with pytest.raises(StorageError, match=r"the sweep 'trip' exists already in .*--name.*--overwrite"):
        claimed(tmp_path, "trip", overwrite=False)
    assert everything(tmp_path / "trip") == before


def test_existing_sweep_is_replaced_with_overwrite(tmp_path):
    finished(tmp_path)
    assert contents(claimed(tmp_path, "trip", overwrite=True)) == [".lock"]


def test_folder_that_is_no_sweep_is_never_overwritten(tmp_path):
    (tmp_path / "trip").mkdir()
    (tmp_path / "trip" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(StorageError, match=r"is no sweep's folder, so --overwrite leaves it alone: use --name"):
        claimed(tmp_path, "trip", overwrite=True)
    assert (tmp_path / "trip" / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_empty_folder_may_be_overwritten(tmp_path):
    (tmp_path / "trip").mkdir()
    assert claimed(tmp_path, "trip", overwrite=True).path.is_dir()


@pytest.mark.parametrize("storage", ["file", "file/below"])
def test_storage_that_cannot_be_written_is_refused_with_the_remedy(tmp_path, storage):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match=r"cannot write to the storage folder .*file.*--storage"):
        claimed(tmp_path / storage, "trip", overwrite=False)
    assert everything(tmp_path) == {"file": b"in the way"}


def test_sweep_is_opened_by_its_name_and_by_its_path(tmp_path):
    folder = started(tmp_path / "results", "trip")
    assert SweepFolder.open(tmp_path / "results", "trip") == folder
    assert SweepFolder.open(tmp_path / "elsewhere", str(folder.path)) == folder


def test_sweep_is_opened_by_a_path_from_here(tmp_path, monkeypatch):
    folder = started(tmp_path / "mine", "trip")
    monkeypatch.chdir(tmp_path)
    assert SweepFolder.open(Path("results"), "mine/trip/") == folder


def test_unknown_sweep_comes_with_the_closest_name(tmp_path):
    started(tmp_path, "quickstart")
    started(tmp_path, "asha")
    with pytest.raises(StorageError, match=r"no sweep 'quikstart' in .*\. Did you mean 'quickstart'\?"):
        SweepFolder.open(tmp_path, "quikstart")
    with pytest.raises(StorageError, match=r"no sweep 'zebra' in .*\. Known: asha, quickstart\."):
        SweepFolder.open(tmp_path, "zebra")


def test_first_sweep_is_suggested_where_there_is_none(tmp_path):
    with pytest.raises(StorageError, match="There is none yet: run `gaelp-ray sweep FILE`"):
        SweepFolder.open(tmp_path / "results", "trip")
    assert not (tmp_path / "results").exists()


def test_sweeps_of_a_storage_come_by_name_and_other_folders_are_no_sweeps(tmp_path):
    for name in ("b", "a"):
        started(tmp_path, name)
    (tmp_path / "c").mkdir()
    (tmp_path / "d.txt").write_text("", encoding="utf-8")
    assert [folder.path.name for folder in sweeps_in(tmp_path)] == ["a", "b"]
    assert list(sweeps_in(tmp_path / "nowhere")) == []


def test_start_holds_the_sweep_file_and_its_provenance(tmp_path):
    folder = started(tmp_path, "trip")
    assert yaml.safe_load((folder.path / "sweep.yaml").read_text(encoding="utf-8")) == {"name": "trip", "seed": 0}
    assert '"load": null' in (folder.path / "provenance.json").read_text(encoding="utf-8")
    assert not folder.is_finished()


def test_end_holds_the_decision_and_the_leaderboard(tmp_path):
    folder = finished(tmp_path)
    assert folder.is_finished()
    assert folder.read_selection()["winner"] == {"trial": "a"} and folder.read_selection()["roas"] is None
    with (folder.path / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["a", "b"]
    assert list(rows[0]) == ["rank", "trial", "params"]


def test_unfinished_sweep_has_no_decision(tmp_path):
    folder = started(tmp_path / "elsewhere", "trip")
    with pytest.raises(StorageError, match="the sweep 'trip' has not finished: `gaelp-ray resume ") as refused:
        folder.read_selection()
    (_, command, _) = str(refused.value).split("`")
    assert SweepFolder.open(Path("results"), command.split()[-1]) == folder


@pytest.mark.parametrize("content", [b"", b"{", b'{"winner": ', b"\xff\xfe"])
def test_damaged_decision_is_refused(tmp_path, content):
    folder = finished(tmp_path)
    (folder.path / "selection.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"selection\.json is damaged"):
        folder.read_selection()


def test_best_agent_of_a_finished_sweep_acts(tmp_path):
    folder, market = finished(tmp_path), load_market("airfrance-search")
    config = GAELPExperimentConfig(agent_type="constant", constant={"bid_multiplier": 2.0})
    original = make_agent(config, market.landscape)
    save_model(folder.best, Model(original, config, market, {}))
    obs = np.zeros((3, 99), dtype=np.float32)
    for found in (load_best("trip", tmp_path), load_best(folder.path)):
        np.testing.assert_array_equal(found.act(obs), original.act(obs))


def test_best_agent_of_an_unfinished_sweep_is_refused(tmp_path):
    started(tmp_path, "trip")
    with pytest.raises(StorageError, match="has not finished"):
        load_best("trip", tmp_path)


def test_best_agent_whose_model_is_missing_is_refused(tmp_path):
    finished(tmp_path)
    with pytest.raises(ModelError, match=r"no model in .*best"):
        load_best("trip", tmp_path)


def test_a_file_with_the_sweeps_name_is_left_alone(tmp_path):
    (tmp_path / "trip").write_text("mine")
    with pytest.raises(StorageError, match="no sweep's folder"):
        claimed(tmp_path, "trip", overwrite=True)
    assert (tmp_path / "trip").read_text() == "mine"


@pytest.mark.parametrize("content", ["null", "5", "[1]", "[]", "{}"])
def test_a_decision_that_is_none_is_damage(tmp_path, content):
    folder = finished(tmp_path)
    (folder.path / "selection.json").write_text(content)
    with pytest.raises(StorageError, match="holds no selection"):
        folder.read_selection()


def test_a_sweep_without_a_winner_has_no_best_agent(tmp_path):
    folder = started(tmp_path, "trip")
    folder.write_end({"winner": None, "reason": "no eligible trial", "leaderboard": []}, ROWS)
    with pytest.raises(StorageError, match="has no winner: no eligible trial"):
        load_best("trip", tmp_path)


def test_a_sweep_that_goes_on_has_no_decision_and_keeps_all_else(tmp_path):
    folder = finished(tmp_path)
    folder.reopen()
    assert not folder.is_finished() and (folder.path / "leaderboard.csv").is_file()
    folder.reopen()


def test_its_history_is_that_of_its_journal(tmp_path):
    folder = started(tmp_path, "trip")
    assert folder.history().plans == {}
    journal = Journal(folder.path)
    journal.proposed({"name": "trip-00"})
    journal.ended("trip-00", End("completed"))
    journal.close()
    assert folder.history().ends == {"trip-00": End("completed")}


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "5"])
def test_damaged_provenance_is_refused(tmp_path, content):
    folder = started(tmp_path, "trip")
    path = folder.path / "provenance.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(StorageError, match=r"provenance\.json is damaged"):
        folder.read_provenance()


def test_it_is_shown_as_a_person_would_type_it(tmp_path, monkeypatch):
    folder = started(tmp_path / "results", "trip")
    assert folder.shown == str(folder.path)
    monkeypatch.chdir(tmp_path)
    assert folder.shown == "results/trip"
    assert SweepFolder.open(Path("nowhere"), folder.shown) == folder
    spaced = started(tmp_path / "my results", "trip")
    assert shlex.split(f"gaelp-ray resume {spaced.shown}") == ["gaelp-ray", "resume", "my results/trip"]
