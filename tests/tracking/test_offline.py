"""What the real client writes offline is read back, and a torn file gives what was whole."""

import json
import math
import os
import shutil
import zlib

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

from gaelp_ray.errors import StorageError
from gaelp_ray.tracking.artifacts import Leaderboard, ModelArtifact, Publication, publish_selection
from gaelp_ray.tracking.offline import BLOCK, CHUNK, HEADER, WHOLE, offline_runs, read_run
from gaelp_ray.tracking.promotion import Terms
from gaelp_ray.tracking.runs import RunIdentity

ROWS = 40
TERMS = Terms(None, trained_by="a-trial")  # offline, nobody judges
LONG = "many words " * 10_000  # a record of several blocks


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the run of a trial and the run of a final stage."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name, value in {"HOME": folder, "WANDB_DIR": folder, "WANDB_SILENT": "true"}.items():
            patch.setenv(name, str(value))
        patch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        write_trial()
        write_selection(folder)
        wandb.teardown()
    return folder / "wandb"


def identity(id: str, job_type: str) -> RunIdentity:
    return RunIdentity(id, f"name of {id}", "my-project", "my-group", job_type, "offline", tags=("first", "second"))


def write_trial() -> None:
    config = {"ppo": {"epochs": 2}, "heterogeneity": None, "learning_rate": 0.1}
    one = identity("a-trial", "trial")
    with wandb.init(id=one.id, name=one.name, config=config, **one.as_init()) as run:
        for step in range(1, ROWS + 1):
            run.log({"performance/roas": step / 4, "lost": math.nan}, step=step, commit=True)
        run.config.update({"note": LONG})
        run.summary["score"] = 7.5
        run.summary["performance/roas"] = 99.0


def write_selection(folder) -> None:
    model = folder / "best"
    model.mkdir()
    for name in ("model.json", "model.npz", "card.md"):
        (model / name).write_text(name, encoding="utf-8")
    published = publish_selection(
        identity("b-select", "select"),
        {"method": "random"},
        {"winner": "trip-00", "winner/roas": 5.0},
        Leaderboard(["trial", "roas"], [["trip-00", 5.0], ["trip-01", None]]),
        ModelArtifact("trip-best", model, ("candidate", "trip"), {"params": {"x": [1, 2]}}, TERMS),
    )
    assert published == Publication("offline", "trip-best", aliases=("candidate", "trip"))


@pytest.fixture(scope="module")
def runs(home):
    return {run.id: run for run in offline_runs(home)}


def test_every_run_of_a_folder_is_found(runs):
    assert list(runs) == ["a-trial", "b-select"]


def test_identity_is_read_back(runs):
    run = runs["a-trial"]
    found = (run.name, run.project, run.group, run.job_type)
    assert found == ("name of a-trial", "my-project", "my-group", "trial")
    assert sorted(run.tags) == ["first", "second"]
    assert runs["b-select"].job_type == "select"


def test_config_is_read_back_without_wandbs_own(runs):
    known = {"ppo": {"epochs": 2}, "heterogeneity": None, "learning_rate": 0.1, "note": LONG}
    assert runs["a-trial"].config == known


def test_history_is_read_back_row_by_row(runs):
    history = runs["a-trial"].history
    assert [row["_step"] for row in history] == list(range(1, ROWS + 1))
    assert [row["performance/roas"] for row in history] == [step / 4 for step in range(1, ROWS + 1)]
    assert all(math.isnan(row["lost"]) for row in history)


def test_summary_is_the_last_of_each_key_unless_it_was_set(runs):
    summary = runs["a-trial"].summary
    assert (summary["score"], summary["performance/roas"], summary["_step"]) == (7.5, 99.0, ROWS)


def test_end_of_a_run_is_read_back(runs):
    assert [run.exit_code for run in runs.values()] == [0, 0]


def test_artifact_is_read_back_with_its_aliases(runs):
    (model,) = [artifact for artifact in runs["b-select"].artifacts if artifact["type"] == "model"]
    assert model["name"] == "trip-best"
    assert {"candidate", "trip"} <= set(model["aliases"])
    assert model["metadata"] == {
        "params": {"x": [1, 2]},
        "trained_by": {"run": "a-trial", "path": "my-project/a-trial"},
    }
    assert sorted(model["files"]) == ["card.md", "model.json", "model.npz"]


def test_final_stage_logs_its_table_and_summary(runs):
    run = runs["b-select"]
    assert (run.summary["winner"], run.summary["winner/roas"]) == ("trip-00", 5.0)
    assert (run.history[0]["leaderboard.nrows"], run.history[0]["leaderboard.ncols"]) == (2, 2)
    assert run.config == {"method": "random"}


@pytest.fixture
def torn(home, tmp_path):
    """Reads the trial's run after its file was cut to a length, in bytes or as a share."""

    def torn(length: float):
        (directory,) = home.glob("offline-run-*a-trial")
        copy = shutil.copytree(directory, tmp_path / directory.name, dirs_exist_ok=True)
        (file,) = copy.glob("*.wandb")
        content = file.read_bytes()
        file.write_bytes(content[: int(length if length > 1 else length * len(content))])
        return read_run(copy)

    return torn


def test_torn_file_gives_the_whole_records_before_the_tear(torn, runs):
    whole = runs["a-trial"].history
    lengths = [len(torn(length).history) for length in (300, 1500, 3000, 4500, 0.5)]
    assert lengths == sorted(lengths)
    assert 0 < lengths[2] < lengths[-1] == ROWS
    assert torn(3000).history == whole[: lengths[2]]


def test_torn_run_never_ended(torn):
    assert torn(0.5).exit_code is None
    assert torn(HEADER.size).history == []


def test_changed_byte_ends_the_file_there(home, tmp_path):
    (directory,) = home.glob("offline-run-*a-trial")
    copy = shutil.copytree(directory, tmp_path / directory.name)
    (file,) = copy.glob("*.wandb")
    content = bytearray(file.read_bytes())
    assert len(content) > 3 * BLOCK
    content[3000] ^= 1
    file.write_bytes(content)
    assert 0 < len(read_run(copy).history) < ROWS


def chunk(record: wandb_internal_pb2.Record) -> bytes:
    """One whole record of a LevelDB log."""
    content = record.SerializeToString()
    return CHUNK.pack(zlib.crc32(content, zlib.crc32(bytes([WHOLE]))), len(content), WHOLE) + content


def row(letters: int) -> wandb_internal_pb2.Record:
    """A row of history of about that many bytes."""
    record = wandb_internal_pb2.Record()
    record.history.item.add(key="x", value_json=json.dumps("a" * letters))
    return record


@pytest.mark.parametrize("room", range(CHUNK.size + 1))
def test_end_of_a_block_that_is_too_short_for_a_chunk_is_padding(tmp_path, room):
    header = HEADER.pack(b":W&B", 0xBEE1, 0)
    excess = len(header + chunk(row(30_000))) + room - BLOCK
    block = header + chunk(row(30_000 - excess)) + bytes(room)
    end = wandb_internal_pb2.Record(exit=wandb_internal_pb2.RunExitRecord(exit_code=7))
    (tmp_path / "run-x.wandb").write_bytes(block + chunk(end))
    assert len(block) == BLOCK
    assert read_run(tmp_path).exit_code == 7


@pytest.mark.parametrize(
    "content", [b"", b":W&B", b":W&B\xe1\xbe\x01rest", b"SQLite format 3\x00", b":W&B\x00\x00\x00rest"]
)
def test_file_of_another_format_is_refused(tmp_path, content):
    (tmp_path / "run-x.wandb").write_bytes(content)
    with pytest.raises(StorageError, match=r"run-x\.wandb is no W&B run file of a known version"):
        read_run(tmp_path)


@pytest.mark.parametrize("count", [0, 2])
def test_folder_without_exactly_one_run_file_is_refused(tmp_path, count):
    for number in range(count):
        (tmp_path / f"run-{number}.wandb").write_bytes(b"")
    with pytest.raises(StorageError, match=rf"holds {count} \.wandb files, not one"):
        read_run(tmp_path)


def test_folder_without_runs_has_none(tmp_path):
    assert offline_runs(tmp_path / "nowhere") == []
