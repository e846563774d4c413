"""A training can always go on: its last checkpoint is whole whatever ended the process, until there is another."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gaelp_ray.checkpoint import Model, load_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ModelError, StorageError
from gaelp_ray.market.stream import STREAM
from gaelp_ray.progress import PROGRESS, Checkpoints, Progress
from gaelp_ray.worlds import untrained, world_of

CONFIG = GAELPExperimentConfig(agent_type="constant", num_episodes=8, batch_size=4)
WORLD = world_of(CONFIG)


def progress(iterations: int, config: GAELPExperimentConfig = CONFIG) -> Progress:
    model = Model(untrained(WORLD, config), config, WORLD, {"episodes": 4 * iterations})
    return Progress(model, iterations, [{"episode": n, "ctr": None} for n in range(1, 4 * iterations + 1)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "trip")


@pytest.fixture
def one(checkpoints) -> Checkpoints:
    checkpoints.save(progress(1))
    return checkpoints


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("gaelp_ray")]


def test_before_the_first_there_is_none(checkpoints):
    assert checkpoints.load(CONFIG) is checkpoints.last is None


def test_everything_is_read_back(one):
    found = one.load(CONFIG)
    assert (found.iterations, found.episodes) == (1, progress(1).episodes)
    assert (found.model.config, found.model.market.hash, found.model.about) == (CONFIG, WORLD.hash, {"episodes": 4})
    assert load_model(one.last).config == CONFIG


def test_only_the_last_stays(one):
    assert one.save(progress(2)) == one.last == one.folder / "iteration-000002"
    one.save(progress(12))
    assert names(one.folder) == ["iteration-000012"]
    assert one.load(CONFIG).iterations == 12


def test_what_a_killed_process_left_half_written_goes_too(one):
    (one.folder / ".saving-1").mkdir()
    (one.folder / ".saving-1" / "model.npz").write_bytes(b"half")
    (one.folder / "notes.txt").write_text("mine", encoding="utf-8")
    one.save(progress(2))
    assert names(one.folder) == ["iteration-000002", "notes.txt"]


def test_the_last_is_that_of_most_iterations(one):
    for number in (999_999, 1_000_000):
        (one.folder / f"iteration-{number}").mkdir()
    assert one.last.name == "iteration-1000000"


def test_saved_again_after_as_many_iterations_it_is_the_same(one):
    (one.last / "untouched").touch()
    assert one.save(progress(1)) == one.last
    assert (one.last / "untouched").exists()


KILLED = """\
import os, sys
from pathlib import Path
from tests_progress import CONFIG, progress
from gaelp_ray.progress import Checkpoints

WRITING = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")
left = None  # changes of the file system until the process is gone, without a farewell


def count(event, arguments):
    global left
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if left is not None and (event in WRITING or writes):
        left -= 1
        if left < 0:
            os._exit(9)


sys.addaudithook(count)
for number in range(60):
    checkpoints = Checkpoints(Path(sys.argv[1]) / f"{number:02d}")
    checkpoints.save(progress(1))
    child = os.fork()
    if not child:
        left = number
        checkpoints.save(progress(2))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = checkpoints.load(CONFIG)
    print(code, found.iterations, len(found.episodes), Path(checkpoints.save(progress(3))).name, *sorted(
        path.name for path in checkpoints.folder.iterdir()))
    if not code:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_kill_at_any_moment_of_a_save_leaves_one_to_go_on_from(tmp_path):
    script = KILLED.replace("tests_progress", Path(__file__).stem)
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["9"] * (len(lines) - 1) + ["0"]
    assert len(lines) > 8  # model, description and progress, the renaming, and every file of the one before
    assert [line[1:3] for line in lines] == sorted(line[1:3] for line in lines)
    assert {tuple(line[1:3]) for line in lines} == {("1", "4"), ("2", "8")}
    assert {tuple(line[3:]) for line in lines} == {("iteration-000003", "iteration-000003")}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"iterations": 1, "episodes": [{"epis', b"[]", b"null", b'{"iterations": 1}', b"\xff\xfe", None],
)
def test_torn_progress_is_refused_with_the_remedy(one, content):
    path = one.last / "progress.json"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ModelError) as refused:
        one.load(CONFIG)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{path} is damaged (")
    assert line.endswith(f"delete {one.folder} to start anew")


@pytest.mark.parametrize(
    ("name", "words"), [("model.npz", "model.npz is damaged: its SHA-256 is"), ("model.json", "model.json is damaged")]
)
def test_damaged_agent_is_refused_with_the_remedy(one, name, words):
    (one.last / name).write_bytes((one.last / name).read_bytes()[:-20])
    with pytest.raises(ModelError) as refused:
        one.load(CONFIG)
    (line,) = str(refused.value).splitlines()
    assert words in line
    assert line.endswith(f", or delete {one.folder} to start anew")


def test_a_training_on_another_random_number_stream_is_not_continued(one):
    path = one.last / PROGRESS
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told.pop("stream") == STREAM
    path.write_text(json.dumps(told), encoding="utf-8")  # as versions before streams were numbered wrote it
    with pytest.raises(StorageError) as refused:
        one.load(CONFIG)
    assert str(refused.value) == (
        f"{one.folder} holds a training on random-number stream 1, this version uses stream {STREAM}: give another "
        "experiment name, or delete the folder to start anew"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "(seed: 0 there, 1 now)"),
        ({"constant.bid_multiplier": 0.5}, "(constant.bid_multiplier: 0.35 there, 0.5 now)"),
        ({"team": "search"}, "(team: None there, search now)"),
        ({"num_episodes": 12, "market": "kag-social"}, "(market: airfrance-search there, kag-social now)"),
    ],
)
def test_another_configuration_is_refused_by_its_field(one, changes, words):
    with pytest.raises(StorageError) as refused:
        one.load(CONFIG.replace(changes))
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{one.folder} holds a training with another configuration {words}: ")
    assert "another experiment name, or delete the folder" in line


def test_more_episodes_are_the_same_training(one):
    assert one.load(CONFIG.replace({"num_episodes": 400})).iterations == 1


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("owner", "name"), [(Path, "write_bytes"), (Path, "write_text"), (Path, "rename"), (Path, "mkdir")]
)
def test_on_a_full_disk_the_one_before_stays_and_one_warning_is_said(one, caplog, monkeypatch, owner, name):
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        assert one.save(progress(2)) is one.save(progress(3)) is None
    (line,) = said(caplog)
    assert line == f"no checkpoint could be written to {one.folder} (No space left on device): the training goes on"
    assert names(one.folder) == ["iteration-000001"]
    assert one.load(CONFIG).iterations == 1
    one.save(progress(4))
    assert names(one.folder) == ["iteration-000004"]


def test_a_write_that_the_system_cuts_short_leaves_nothing_of_it(one, caplog):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        assert one.save(progress(2)) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(said(caplog)) == 1
    assert names(one.folder) == ["iteration-000001"]
    assert one.load(CONFIG).iterations == 1


def test_a_file_in_the_way_is_one_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    checkpoints = Checkpoints(tmp_path / "file" / "trip")
    assert checkpoints.load(CONFIG) is checkpoints.save(progress(1)) is checkpoints.last is None
    assert len(said(caplog)) == 1


def test_progress_is_strict_json(checkpoints):
    saved = progress(1)
    saved.episodes[0]["ctr"] = float("nan")
    checkpoints.save(saved)
    text = (checkpoints.last / "progress.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["episodes"][0] == {"episode": 1, "ctr": None}
