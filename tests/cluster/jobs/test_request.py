"""What is asked of a cluster is checked here first."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from far_head import SWEEP, git
from typer.main import get_command

from gaelp_ray.cli.main import app
from gaelp_ray.cluster.jobs.request import Wish, plain_name, requested, shared_storage
from gaelp_ray.errors import InputError, StorageError, SweepFileError
from gaelp_ray.market import load_market
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.provenance import provenance

STORAGE = "s3://bucket/gaelp"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory; returns what writes a sweep file there."""
    root = tmp_path / "work"
    root.mkdir()
    monkeypatch.chdir(root)

    def write(**changes):
        (root / "small.yaml").write_text(yaml.safe_dump({**SWEEP, **changes}), encoding="utf-8")
        return Wish(Path("small.yaml"), storage=STORAGE)

    return write


def words(request):
    return shlex.split(request.entry.partition("jobs.driver ")[2])


def test_the_commit_of_the_working_directory_arrives_in_the_provenance(work, monkeypatch):
    wish = work()
    root = Path.cwd()
    assert "--commit" not in words(requested(wish, root))
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    commit = git(root, "rev-parse", "HEAD")
    assert words(requested(wish, root))[6:8] == ["--commit", commit]
    (root / "new.py").write_text("")
    told = words(requested(wish, root))[7]
    assert told == f"{commit}+"
    monkeypatch.setenv("GAELP_RAY_COMMIT", told)
    assert provenance(plan_sweep(wish.file), {})["git"] == {"commit": commit, "dirty": True}
    monkeypatch.setenv("GAELP_RAY_COMMIT", commit)
    assert provenance(plan_sweep(wish.file), {})["git"] == {"commit": commit, "dirty": False}


def test_the_storage_may_stand_in_the_file(work):
    work(storage="/mnt/sweeps")
    request = requested(Wish(Path("small.yaml")), Path.cwd())
    assert request.job.metadata["storage"] == "/mnt/sweeps"
    assert words(request)[-4:] == ["--address", "auto", "--storage", "/mnt/sweeps"]


def test_a_sweep_that_lies_there_goes_on_as_resume_does(work):
    wish = replace(work(), resume=True, extend=4, retry="failed", settings=("stop.time=1h",))
    told = words(requested(wish, Path.cwd()))
    command, *rest = told[told.index("--") + 1 :]
    understood = get_command(app).commands[command].make_context(command, rest).params
    given = {name: value for name, value in understood.items() if value}
    assert given == {
        "sweep": "small",
        "storage": STORAGE,
        "extend": 4,
        "retry": "failed",
        "settings": ["stop.time=1h"],
        "address": "auto",
    }


def test_without_one_the_sweep_is_refused(work):
    work()
    with pytest.raises(InputError, match=r"storage \./results: on a cluster .* give --storage"):
        requested(Wish(Path("small.yaml")), Path.cwd())


def test_a_server_that_the_environment_names_is_named(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://10.0.0.9:9000")
    assert shared_storage("s3://bucket/x") == "s3://bucket/x?endpoint_override=10.0.0.9%3A9000&scheme=http"


def test_credentials_in_a_storage_are_refused():
    with pytest.raises(StorageError, match="holds credentials"):
        shared_storage("s3://key:secret@b/x")


def test_a_sweep_file_elsewhere_is_refused(work, tmp_path):
    work()
    (tmp_path / "small.yaml").write_text(Path("small.yaml").read_text())
    with pytest.raises(InputError, match=r"is not below .*/work, which is what is sent"):
        requested(Wish(tmp_path / "small.yaml", storage=STORAGE), Path.cwd())


def test_a_sweep_file_that_git_ignores_is_refused(work):
    wish = work()
    git(Path.cwd(), "init", "-q")
    Path(".gitignore").write_text("*.yaml")
    with pytest.raises(InputError, match=r"small\.yaml is not among the files that are sent"):
        requested(wish, Path.cwd())


def test_market_files_go_along_or_are_missed(work, tmp_path):
    import gaelp_ray

    preset = Path(gaelp_ray.__file__).parent / "market/presets/airfrance-search.yaml"
    Path("mine.yaml").write_text(preset.read_text())
    (tmp_path / "far.yaml").write_text(preset.read_text())
    trial = SWEEP["trial"]
    for market in ("mine.yaml", "./mine.yaml"):
        assert "mine.yaml" in requested(work(trial={**trial, "market": market}), Path.cwd()).shipment.files
    for market in ("../far.yaml", str(tmp_path / "work/mine.yaml")):
        with pytest.raises(InputError, match=f"the market file {market} is not sent: write its path from"):
            requested(work(trial={**trial, "market": market}), Path.cwd())
    assert load_market("mine.yaml").name


def test_a_bad_file_is_refused_as_plan_does(work):
    wish = work(parameters={"learning_rat": {"value": 1}}, run_cap=0)
    with pytest.raises(SweepFileError) as refused:
        requested(wish, Path.cwd())
    assert len(refused.value.problems) == 2


def test_a_scheduler_that_cannot_be_had_is_refused_here_too(work):
    """Not by the file's format: only whoever makes it knows."""
    with pytest.raises(InputError, match="grace_period"):
        requested(work(scheduler={"type": "asha", "grace_period": 9}), Path.cwd())


def test_what_is_sent_has_the_text_with_its_references_resolved(work, tmp_path, monkeypatch):
    monkeypatch.setenv("WHO", "ada")
    request = requested(work(description="${WHO}"), Path.cwd())
    assert yaml.safe_load(request.texts["small.yaml"])["description"] == "ada"


@pytest.mark.parametrize(("name", "plain"), [("a-1.b", "a-1.b"), ("../x", "-x"), ("..", "sweep"), ("ä b/c", "--b-c")])
def test_a_sweeps_name_becomes_that_of_a_file(name, plain):
    assert plain_name(name) == plain


def test_metadata_is_text_only(work):
    """Ray takes no other."""
    assert all(
        isinstance(value, str)
        for value in json.loads(json.dumps(dict(requested(work(), Path.cwd()).job.metadata))).values()
    )
