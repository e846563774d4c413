"""No key, no server, or one that dies: W&B stops no training, and one warning says so."""

import re
import shlex
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
from trainings import EPISODE, by_name, said

import gaelp_ray
from gaelp_ray import GAELPWandbTracker
from gaelp_ray.tracking import single
from gaelp_ray.tracking.modes import PROBE_SECONDS
from gaelp_ray.tracking.single import SingleRun

GUIDE = Path(__file__).parents[3] / "docs/guide-tracking.md"
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("anonymous", [True, False])
def test_without_a_key_the_run_is_offline_and_the_warning_says_how_to_upload(here, caplog, anonymous):
    tracker = GAELPWandbTracker(anonymous=anonymous)
    tracker.finish()
    (line,) = said(caplog)
    assert "no W&B key is set" in line
    (command,) = re.findall(r"`wandb sync (wandb/offline-run-\S+)`", line)
    assert (here / command).is_dir()
    assert tracker.run.settings.mode == "offline"


def test_who_asks_for_offline_needs_no_warning(here, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    GAELPWandbTracker().finish()
    assert not said(caplog)
    assert list(here.glob("wandb/offline-run-*"))


def test_a_run_lies_in_the_working_directory_of_its_start(here, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (here / "later").mkdir()
    for name, folder in (("one", here), ("two", here / "later")):
        monkeypatch.chdir(folder)
        GAELPWandbTracker(experiment_name=name).finish()
    assert (list(by_name(here)), list(by_name(here / "later"))) == (["one"], ["two"])


def test_an_unreachable_server_is_an_offline_run(here, caplog, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        tracker = GAELPWandbTracker(experiment_name="unreachable")
    tracker.log_episode_metrics(1, **EPISODE)
    tracker.finish()
    (line,) = said(caplog)
    assert "does not answer" in line and "wandb sync wandb/offline-run" in line
    assert len(by_name(here)["unreachable"].history) == 1


class Refusing(BaseHTTPRequestHandler):
    """A server that answers, and lets nobody in."""

    def do_GET(self):
        self.send_error(401)

    do_POST = do_GET

    def log_message(self, *_):
        """Say nothing."""


def test_a_key_that_the_server_refuses_is_an_offline_run_and_other_runs_go_on(here, caplog, monkeypatch):
    first = GAELPWandbTracker(experiment_name="before")
    monkeypatch.setattr(single, "INIT_SECONDS", 2.0)
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        caplog.clear()
        tracker = GAELPWandbTracker(experiment_name="refused")
        server.shutdown()
        thread.join()
    for each in (first, tracker):
        each.log_episode_metrics(1, **EPISODE)
        each.finish()
    (line,) = said(caplog)
    assert "wandb sync wandb/offline-run" in line and KEY not in line
    assert {name: len(run.history) for name, run in by_name(here).items()} == {"before": 1, "refused": 1}


def test_a_variable_that_makes_no_sense_stops_no_training(here, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "localhost:8080")
    tracker = GAELPWandbTracker()
    tracker.log_episode_metrics(1, **EPISODE)
    tracker.finish()
    assert tracker.run is None
    (line,) = said(caplog)
    assert "W&B is off" in line and "WANDB_" in line


def test_a_run_that_wandb_refuses_at_all_stops_no_training(here, caplog):
    tracker = GAELPWandbTracker(project_name="no/such:name", tags=["t" * 100])
    tracker.log_episode_metrics(1, **EPISODE)
    tracker.finish()
    (line,) = said(caplog)
    assert "W&B is off" in line
    assert len(tracker.episode_metrics) == 1


class Dying:
    """A run whose server has died: everything that waits for it fails."""

    dir = "wandb/run-x/files"

    def __init__(self):
        self.settings = SimpleNamespace(mode="online")
        self.published = self.finished = 0

    def log(self, *_, **__):
        raise wandb.errors.CommError("no answer")

    def log_artifact(self, _):
        self.published += 1

    def finish(self, **_):
        self.finished += 1
        raise TimeoutError("Timed out finishing run.")


def test_a_server_that_dies_is_one_warning_and_gets_no_more_files(off, caplog):
    tracker = GAELPWandbTracker()
    tracker.run = run = Dying()
    tracker._log_of_run = SingleRun(run)
    for number in range(3):
        tracker.log_episode_metrics(number, **EPISODE)
    tracker.log_model_artifacts(__file__)
    tracker.finish()
    tracker.finish()
    line, about_the_model = said(caplog)
    assert "CommError: no answer" in line
    assert f"the model {__file__}: keep it" in about_the_model
    assert "`wandb sync --include-online wandb/run-x`" in line
    assert (run.published, run.finished, len(tracker.episode_metrics)) == (0, 1, 3)


def test_the_command_for_a_folder_with_a_space_can_be_pasted(here):
    log = SingleRun(Dying())
    log.run.dir = str(here / "my work/wandb/run-x/files")
    assert shlex.split(log.upload_command) == ["wandb", "sync", "--include-online", "my work/wandb/run-x"]


def test_no_file_is_sent_to_a_server_that_does_not_answer(here, caplog, monkeypatch):
    run = Dying()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        SingleRun(run).publish("model", Path(__file__))
    assert run.published == 0
    assert "does not answer" in caplog.text


def test_what_wandb_may_wait_for_is_bounded():
    settings = single._bounded_settings()
    limits = (settings.init_timeout, settings.finish_timeout, settings.finish_timeout_raises)
    assert limits == (single.INIT_SECONDS, single.FINISH_SECONDS, True)
    assert 2 * PROBE_SECONDS + single.INIT_SECONDS + single.FINISH_SECONDS < 30


def test_importing_the_package_imports_no_wandb():
    code = "import gaelp_ray, sys; assert 'wandb' not in sys.modules; gaelp_ray.create_experiment_tracker"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"GAELPWandbTracker", "create_experiment_tracker"} <= set(gaelp_ray.__all__)


def test_the_guide_runs_as_it_stands(here, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (here / "gaelp_results_my_experiment.json").is_file()
    run = by_name(here)["my_experiment"]
    assert run.history[0]["performance/roas"] == 2.5
    assert sorted(run.tags) == ["GAELP", "RL", "advertising"]
