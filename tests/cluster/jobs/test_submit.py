"""`submit`, `attach` from the first word to the exit code, on a head that is played (tests/far_head.py)."""

from __future__ import annotations

import json
import shlex
import signal
import threading
from functools import partial

import pytest
from far_head import until
from psutil import process_iter

from gaelp_ray.cluster.jobs.driver import pack

CLUSTER = ("--cluster", "cluster.yaml")


def submit(gaelp, storage, *more):
    return gaelp("submit", "sweeps/small.yaml", *CLUSTER, "--storage", storage, *more)


def only(head):
    [(name, job)] = head.jobs.items()
    return name, job


def test_a_sweep_is_sent_run_and_brought_back_and_then_the_cluster_ends(desk, head, storage, gaelp, monkeypatch):
    ended = []
    monkeypatch.setattr(
        "gaelp_ray.cli.clusters.bring_down",
        lambda file, say: ended.append((desk.work / "submitted/small/selection.json").is_file()) or [],
    )
    said = submit(gaelp, storage, "--resume", "--down-when-done")
    assert said.code == 0, said.err
    assert ended == [True]
    assert "small has finished: nothing is left to do" in said.out
    brought = desk.work / "submitted/small"
    assert sorted(path.name for path in brought.iterdir()) == [
        *("best", "journal.jsonl", "provenance.json", "selection.json", "submission.json", "sweep.yaml")
    ]
    assert (brought / "best/model.json").read_text() == "{}"
    files = "best/, journal.jsonl, provenance.json, selection.json, sweep.yaml"
    assert f"submitted/small: {files}; the whole sweep lies in {storage}" in said.out
    name, job = only(head)
    assert json.loads((brought / "submission.json").read_text())["job"] == name
    assert job["metadata"] == {"sweep": "small", "storage": str(storage), "file": "sweeps/small.yaml"}
    assert job["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "300"}
    assert (head.home / f".gaelp/jobs/{name}.tar").stat().st_mode & 0o777 == 0o600


def test_what_the_head_refuses_is_said_there_and_nothing_is_brought(desk, head, storage, gaelp):
    said = submit(gaelp, storage, "--down-when-done")
    assert said.code == 2
    assert "the sweep 'small' exists already" in said.out
    assert "the cluster stays up, as no results are here" in said.err
    assert "packed no results" not in said.err
    assert not (desk.work / "submitted").exists()
    assert not (head.home / ".gaelp/jobs").exists()


def test_the_command_that_runs_there_says_all_that_was_said_here(desk, head, storage, gaelp):
    head.runs = False
    assert submit(gaelp, storage, "--detach", "--overwrite", "--name", "big-one", "--set", "run_cap=3").code == 0
    name, job = only(head)
    assert name.startswith("big-one-2")
    words = shlex.split(job["entrypoint"].partition("jobs.driver ")[2])
    assert words[:6] == ["--job", name, "--sweep", "big-one", "--storage", str(storage)]
    assert words[words.index("--") + 1 :] == [
        *("sweep", "sweeps/small.yaml", "--name", "big-one", "--overwrite", "--address", "auto"),
        *("--storage", str(storage), "--set", "run_cap=3"),
    ]


def test_a_sweep_that_runs_there_is_not_begun_twice(head, storage, gaelp):
    head.add("small-1", "small")
    said = submit(gaelp, storage)
    assert said.code == 2
    assert "as small-1: watch it with `gaelp-ray attach small --cluster cluster.yaml`" in said.err
    assert list(head.jobs) == ["small-1"]


def test_a_sweep_that_has_ended_there_may_begin_again(head, storage, gaelp):
    head.runs = False
    head.add("small-1", "small", status="FAILED", driver_exit_code=1)
    assert submit(gaelp, storage, "--detach").code == 0
    assert len(head.jobs) == 2


def test_of_a_sweeps_jobs_the_newest_counts_and_of_all_the_one_that_runs(head, gaelp):
    for number in (2, 3):
        head.add(f"small-{number}", "small", status="FAILED", driver_exit_code=number)
    assert gaelp("attach", "small", *CLUSTER).code == 3
    assert gaelp("attach", "small-2", *CLUSTER).code == 2
    head.add("large-1", "large", start_time=0)
    assert "large-1 was told to end" in gaelp("attach", *CLUSTER, "--stop").err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--set", "parameters.learning_rat.value=1"], "unknown parameter"),
        (["--storage", "results"], "storage results: on a cluster that would be a folder of the job's own"),
        (["--set", "entity=wandb_v1_0123456789"], "--set entity: a W&B key stands here"),
        (["--detach", "--down-when-done"], "--detach does not wait"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--extend", "2"], "--extend is for a sweep that lies in the storage: give --resume, too"),
        (["--retry", "failed"], "--retry is for a sweep that lies in the storage"),
        (["-o", "sweeps"], "sweeps is there already, and holds no results of a submitted sweep"),
    ],
)
def test_what_is_wrong_here_never_leaves(head, storage, gaelp, words, complaint):
    said = submit(gaelp, storage, *words)
    assert said.code == 2
    assert complaint in said.err
    assert not (head.folder / "asked").exists()


def test_without_a_head_the_remedy_is_said(desk, head, storage, gaelp):
    head.away()
    said = submit(gaelp, storage)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "start it with `ray up -y cluster.yaml` (10.1.0.1: no ssh: ssh: connect to host" in said.err


def test_another_token_is_said(desk, head, storage, gaelp):
    (desk.home / ".ray/auth_token").write_text("other")
    said = submit(gaelp, storage)
    assert said.code == 2
    assert "the head does not take this machine's token: ~/.ray/auth_token" in said.err


def test_the_environment_of_this_machine_leads_nowhere_else(head, gaelp, monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    head.add("small-1", "small", status="FAILED", driver_exit_code=3)
    assert gaelp("attach", *CLUSTER).code == 3


def test_nothing_of_ssh_is_left_behind(head, gaelp):
    gaelp("attach", *CLUSTER)
    tunnels = [line for line in head.asked if " -L " in line]
    assert len(tunnels) == 1
    assert "ExitOnForwardFailure=yes" in tunnels[0]
    assert running(tunnels[0].split("-L ")[1]) == []


def running(words):
    return [process for process in process_iter(["cmdline"]) if words in " ".join(process.info["cmdline"] or ())]


def interrupt_after_a_look(head) -> threading.Event:
    """Ctrl-C in this process once it has looked at the job; again if it keeps looking. Set the event when it has ended.

    An interrupt can be lost: Python drops one that is raised in a finaliser.
    """
    ended, reader = threading.Event(), threading.main_thread().ident

    def interrupt():
        answered = 1  # looks
        while not ended.is_set():
            until(partial(lambda looks: ended.is_set() or head.looks > looks, answered))
            answered = head.looks + 1
            if not ended.is_set():
                signal.pthread_kill(reader, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    return ended


def test_ctrl_c_leaves_the_sweep_alone_and_says_how_to_go_on(head, storage, gaelp):
    head.runs = False
    ended = interrupt_after_a_look(head)
    said = submit(gaelp, storage)
    ended.set()
    assert said.code == 130
    assert "watch it with `gaelp-ray attach small --cluster cluster.yaml`" in said.err
    assert "end it with `gaelp-ray attach small --cluster cluster.yaml --stop`" in said.err
    assert only(head)[1]["status"] == "RUNNING"


def test_another_machine_finds_the_sweep_and_its_results(desk, head, storage, gaelp, monkeypatch):
    head.runs = False
    submit(gaelp, storage, "--resume", "--detach")
    name, _ = only(head)
    head.logs[name] = "all that it has said\n"
    monkeypatch.setenv("HOME", str(head.home))
    pack(name, "small", str(storage))  # as the driver does, while nobody looks
    monkeypatch.setenv("HOME", str(desk.home))
    head.end(name, 0)
    said = gaelp("attach", *CLUSTER)
    assert said.code == 0
    assert said.out.startswith("all that it has said\nsubmitted/small: best/, ")
    assert (desk.work / "submitted/small/selection.json").is_file()


def test_a_sweep_is_stopped_and_can_go_on(head, storage, gaelp):
    head.add("small-1", "small")
    said = gaelp("attach", "small", *CLUSTER, "--stop")
    assert head.jobs["small-1"]["status"] == "STOPPED"
    assert said.code == 130
    remedy = "gaelp-ray submit small.yaml --cluster cluster.yaml --storage s3://b/x --name small --resume"
    assert f"the sweep has not finished: go on with `{remedy}`" in said.err


def test_of_several_that_run_one_must_be_named(head, gaelp):
    head.add("a-1", "a")
    head.add("b-1", "b")
    head.add("old-1", "old", status="FAILED", driver_exit_code=1)
    assert "2 sweeps run there, a, b: give the name of one" in gaelp("attach", *CLUSTER).err
    assert "no sweep 'ols' was submitted" in gaelp("attach", "ols", *CLUSTER).err


def test_nothing_was_submitted(head, gaelp):
    said = gaelp("attach", *CLUSTER)
    assert said.code == 2
    assert "no sweep was submitted to this cluster since it is up" in said.err


def test_other_peoples_jobs_are_none_of_ours(head, gaelp):
    head.add("raysubmit_1", "x", metadata={"job_name": "x"})
    assert "no sweep was submitted" in gaelp("attach", *CLUSTER).err


def test_results_that_cannot_come_are_said_and_keep_the_cluster_up(head, gaelp):
    head.add("small-1", "small", status="SUCCEEDED", driver_exit_code=0)
    said = gaelp("attach", *CLUSTER, "--down-when-done")
    assert said.code == 1
    assert "10.1.0.1 has packed no results of this job (~/.gaelp/jobs/small-1.tar)" in said.err
    assert "the cluster stays up" in said.err
    assert not any("ray stop" in line for line in head.asked)
