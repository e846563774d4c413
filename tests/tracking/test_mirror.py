"""Offline runs become whole, whatever was left of them, and what is whole stays as it is."""

import shutil
from dataclasses import replace

import pytest
import wandb
from no_account import no_account

from gaelp_ray.errors import TrackingError
from gaelp_ray.tracking import mirror
from gaelp_ray.tracking.mirror import complete_offline
from gaelp_ray.tracking.offline import offline_runs, read_run
from gaelp_ray.tracking.records import RunRecord
from gaelp_ray.tracking.runs import Row, RunIdentity, RunLog

CONFIG = {"seed": 3, "ppo": {"lr": 0.1, "none": None}, "lost": float("nan"), "empty": {}, "agents": ["a", "b"]}


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """A person without an account."""
    with no_account(tmp_path_factory.mktemp("home"), WANDB_ERROR_REPORTING="false", WANDB_MODE="offline"):
        yield


def record(id: str, steps: int = 30, **changes) -> RunRecord:
    identity = RunIdentity(id, f"name of {id}", "p", "g", "trial", "offline", tags=("one", "two"))
    rows = [
        Row(step, 1_600_000_000.0 + step, {"roas": step / 3, "lost": float("nan"), "cost": float(step)})
        for step in range(1, steps + 1)
    ]
    summary = {"status": "stopped", "reason": "by the scheduler", "score": 7.5}
    return replace(RunRecord(identity, CONFIG, rows, summary, 0), **changes)


RECORDS = [
    record("a"),
    record("b", exit_code=1, summary={"status": "failed", "reason": "ValueError: x"}),
    record("c", 0),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A wandb folder with the runs of RECORDS, made from nothing."""
    home = tmp_path_factory.mktemp("sweep") / "wandb"
    assert complete_offline(RECORDS, home) == ["a", "b", "c"]
    return home


@pytest.fixture
def home(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "wandb", symlinks=True)


def directory_of(home, id: str):
    (directory,) = (path for path in home.glob("offline-run-*") if list(path.glob(f"run-{id}.wandb")))
    return directory


def stamps(home) -> dict:
    return {path: path.stat().st_mtime_ns for path in home.rglob("*") if not path.is_symlink()}


def require_whole(home, records=RECORDS):
    """Exactly one directory for each record, with everything in it."""
    found = {run.id: run for run in offline_runs(home)}
    assert len(list(home.glob("offline-run-*"))) == len(found) == len(records)
    for wanted in records:
        run = found[wanted.identity.id]
        assert [row["_step"] for row in run.history] == [row.step for row in wanted.rows]
        assert [row["roas"] for row in run.history] == [row.values["roas"] for row in wanted.rows]
        assert [row["_timestamp"] for row in run.history] == [row.time for row in wanted.rows]
        assert run.exit_code == wanted.exit_code
        assert {name: run.summary[name] for name in wanted.summary} == wanted.summary
    assert not (home / ".rebuilt").exists()


def test_runs_are_rebuilt_from_the_record_alone(made):
    require_whole(made)
    run = read_run(directory_of(made, "a"))
    assert (run.name, run.project, run.group, run.job_type) == ("name of a", "p", "g", "trial")
    assert sorted(run.tags) == ["one", "two"]
    assert run.config == {"seed": 3, "ppo": {"lr": 0.1, "none": None}, "lost": None, "agents": ["a", "b"], "empty": {}}


def test_what_is_whole_is_not_touched(home, monkeypatch):
    before = stamps(home)
    monkeypatch.setattr(wandb, "init", None)
    assert complete_offline(RECORDS, home) == []
    assert stamps(home) == before


def test_run_that_was_logged_while_it_ran_is_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    wandb.teardown()
    wanted = RECORDS[0]
    log = RunLog.open(
        lambda trial_id, trial_name, **more: wandb.init(id=trial_id, name=trial_name, **more), wanted.identity, CONFIG
    )
    for row in wanted.rows:
        log.log(row.values, row.step, row.time)
    log.summarise({"score": 7.5})
    log.end("stopped", "by the scheduler")
    wandb.teardown()
    assert complete_offline([wanted], tmp_path / "wandb") == []
    require_whole(tmp_path / "wandb", [wanted])


@pytest.mark.parametrize("left", [0, 5, 200, 2000, 0.5, 0.98])
def test_torn_run_is_replaced(home, left):
    (file,) = directory_of(home, "a").glob("*.wandb")
    content = file.read_bytes()
    file.write_bytes(content[: int(left if left >= 1 or not left else left * len(content))])
    assert complete_offline(RECORDS, home) == ["a"]
    require_whole(home)


@pytest.mark.parametrize(
    "changes",
    [
        {"exit_code": 130},
        {"summary": {"status": "finished", "reason": ""}},
        {"config": CONFIG | {"seed": 4}},
        {"config": {"seed": 3}},
        {"rows": RECORDS[0].rows[:-1]},
        {"rows": [*RECORDS[0].rows, Row(31, 1.0, {"roas": 1.0})]},
        {"rows": [*RECORDS[0].rows[:10], *RECORDS[0].rows[11:]]},
        {"rows": [replace(RECORDS[0].rows[0], values={"roas": 99.0}), *RECORDS[0].rows[1:]]},
        {"identity": replace(RECORDS[0].identity, tags=("one",))},
        {"identity": replace(RECORDS[0].identity, name="another")},
        {"identity": replace(RECORDS[0].identity, group="another")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_run_that_says_something_else_is_replaced(home, changes):
    records = [replace(RECORDS[0], **changes), *RECORDS[1:]]
    assert complete_offline(records, home) == ["a"]
    require_whole(home, records)
    assert complete_offline(records, home) == []


def test_of_several_directories_the_whole_one_stays(home, monkeypatch):
    whole = directory_of(home, "a")
    for number in (1, 2):
        copy = shutil.copytree(whole, home / f"offline-run-20200101_00000{number}-a", symlinks=True)
        (copy / "run-a.wandb").write_bytes((whole / "run-a.wandb").read_bytes()[:3000])
    (home / "offline-run-20990101_000000-a").mkdir()  # a start that failed
    (home / "offline-run-20990101_000000-a-1").mkdir()
    monkeypatch.setattr(wandb, "init", None)
    assert complete_offline(RECORDS, home) == []
    require_whole(home)
    assert directory_of(home, "a") == whole


def test_run_whose_rows_are_spread_over_directories_becomes_one(home):
    wanted = RECORDS[0]
    shutil.rmtree(directory_of(home, "a"))
    for part in (wanted.rows[:12], wanted.rows[8:]):
        aside = home / "aside"
        complete_offline([replace(wanted, rows=part)], aside)
        (piece,) = aside.glob("offline-run-*")
        piece.rename(home / f"offline-run-20260101_0000{part[0].step:02}-a")
        shutil.rmtree(aside)
    assert complete_offline(RECORDS, home) == ["a"]
    require_whole(home)


def test_other_runs_stay(home):
    shutil.copytree(directory_of(home, "a"), home / "kept", symlinks=True)
    other = home / "offline-run-20260101_000000-a-b"
    other.mkdir()
    shutil.copy(directory_of(home, "a") / "run-a.wandb", other / "run-a-b.wandb")
    (home / "offline-run-20260101_000000-select").mkdir()
    (directory_of(home, "a") / "run-a.wandb").write_bytes(b"")
    assert complete_offline(RECORDS, home) == ["a"]
    assert (other / "run-a-b.wandb").is_file()
    assert (home / "offline-run-20260101_000000-select").is_dir()
    assert (home / "kept").is_dir()


class Killed(BaseException):
    """What no code of ours catches."""


def die(*_, **__):
    raise Killed


def die_midway(outdated):
    for file in [file for directory in outdated for file in directory.glob("*.wandb")]:
        file.unlink()
        raise Killed


DEATHS = {
    "before": (wandb, "init", die),
    "rebuilt": (mirror, "_checked", die),
    "moving": (mirror.Path, "rename", die),
    "moved": (mirror, "_remove", die),
    "removing": (mirror, "_remove", die_midway),
}


@pytest.mark.parametrize("at", DEATHS)
def test_killed_at_any_point_the_next_call_ends_well(home, monkeypatch, at):
    for id in ("a", "b"):
        (directory_of(home, id) / f"run-{id}.wandb").write_bytes(b"torn")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(*DEATHS[at])
        complete_offline(RECORDS, home)
    # Nothing is removed before its successor is in its place.
    assert len(list(home.glob("offline-run-*/run-[ab].wandb"))) >= 2
    complete_offline(RECORDS, home)
    require_whole(home)
    assert complete_offline(RECORDS, home) == []


def test_what_there_was_is_kept_where_wandb_writes_nothing_whole(home, monkeypatch):
    file = directory_of(home, "a") / "run-a.wandb"
    torn = file.read_bytes()[:3000]
    file.write_bytes(torn)
    monkeypatch.setattr(RunLog, "catch_up", lambda self, rows: 0)
    with pytest.raises(TrackingError, match=r"the W&B run name of a was not rebuilt .*is the disk full.* is kept"):
        complete_offline(RECORDS, home)
    assert file.read_bytes() == torn
    assert not (home / ".rebuilt").exists()


def test_link_to_a_run_that_is_gone_goes_too(home):
    link = home / "latest-run"
    link.unlink(missing_ok=True)
    link.symlink_to(home / "nowhere")
    complete_offline(RECORDS, home)
    assert not link.is_symlink()


def test_online_identity_is_rebuilt_offline(tmp_path):
    online = record("d", 2)
    online = replace(online, identity=replace(online.identity, mode="online"))
    assert complete_offline([online], tmp_path) == ["d"]
    assert len(list(tmp_path.glob("offline-run-*"))) == 1
