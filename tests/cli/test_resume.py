"""`gaelp-ray resume` as it is typed, on real Ray: after a crash, in another place, and with more than there was."""

from __future__ import annotations

import json
import shutil

import begun_sweeps
import pytest
import yaml

from gaelp_ray.market.market import PRESETS
from gaelp_ray.sweep.store.journal import End

KEYS = {
    "name": "small",
    "method": "random",
    "run_cap": 3,
    "parameters": {"ppo.initial_std": {"min": 0.1, "max": 0.2}},
    "trial": {"num_episodes": 16, "batch_size": 8, "market": "shop.yaml"},
    "select": {"episodes": 32, "top_k": 1},
    "tracking": {"mode": "disabled"},
    "max_concurrent": 1,  # each worker costs seconds to start
}


def board(folder):
    """The leaderboard without what depends on the clock."""
    rows = json.loads((folder / "selection.json").read_text(encoding="utf-8"))["leaderboard"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture
def market(tmp_path, monkeypatch):
    """A new working directory that has the market file of the sweeps here."""

    def enter(name):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        text = (PRESETS / "airfrance-search.yaml").read_text(encoding="utf-8")
        (tmp_path / name / "shop.yaml").write_text(text, encoding="utf-8")
        return tmp_path / name

    return enter


@pytest.mark.slow
def test_a_moved_sweep_that_is_extended_ends_like_one_that_was_longer_from_the_start(market, gaelp_ray, monkeypatch):
    home = market("home")
    (home / "small.yaml").write_text(yaml.safe_dump(KEYS | {"run_cap": 4}), encoding="utf-8")
    assert gaelp_ray("sweep", "small.yaml")[0] in (0, 1)
    shutil.rmtree(home / "results" / "small" / "trials")

    killed = market("killed")
    (killed / "small.yaml").write_text(yaml.safe_dump(KEYS | {"run_cap": 3}), encoding="utf-8")
    begun = begun_sweeps.begun(killed / "small.yaml", 4, [End("completed")] * 2)
    for trial, iterations, weights in [("default", 2, True), ("00", 2, True), ("01", 1, True), ("02", 1, False)]:
        begun_sweeps.fly(begun, f"small-{trial}", iterations, weights)
    torn = begun.path / "journal.jsonl"
    torn.write_bytes(torn.read_bytes() + b'{"event":"ended","tri')
    away = killed.parent / "away"
    away.mkdir()
    moved = shutil.copytree(begun.path, away / "moved")
    shutil.rmtree(killed)
    monkeypatch.chdir(away)

    code, out, _ = gaelp_ray("resume", "moved", "--storage", ".", "--extend", 1)
    assert code in (0, 1) and "small-03" in out and "[3/5] small-01" in out
    assert board(moved) == board(home / "results" / "small")
    records = {path.parent.name: path.read_text(encoding="utf-8") for path in moved.glob("trials/*/record.jsonl")}
    flown_before = {name: text.count('"session":"first"') for name, text in records.items()}
    # Without a checkpoint a trial begins again.
    assert flown_before == {"small-default": 2, "small-00": 2, "small-01": 1, "small-02": 0, "small-03": 0}
    again, out, _ = gaelp_ray("resume", "moved", "--storage", ".")
    assert again == code and "moved has finished: nothing is left to do" in out


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = {**KEYS, "trial": {"num_episodes": 16, "batch_size": 8}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    return begun_sweeps.begun(tmp_path / "small.yaml", 2)


def test_a_finished_sweep_is_shown_again_in_the_form_that_is_asked_for(folder, gaelp_ray):
    record = {"winner": None, "reason": "no eligible trial: none completed", "leaderboard": []}
    folder.write_end(record, [{"rank": 1}])
    code, out, _ = gaelp_ray("resume", "small", "--json")
    assert code == 1 and json.loads(out) == record
    code, out, _ = gaelp_ray("resume", "small")
    assert code == 1 and out.endswith("small has finished: nothing is left to do\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--set", "seed=1"),
            "error: --set seed: trials with another seed are another sweep. What may change: run_cap,",
        ),
        (("--set", "run_cap=2"), "error: run_cap: the sweep has 3 configurations already, and 2 is below that"),
        (("--extend", -1), "error: Invalid value for '--extend'"),
        (("--set", "resources.cpu=5000"), "error: resources.cpu: each trial asks for 5000 CPUs, and this machine has "),
        (("--set", "select.episodes=few"), "error: --set select.episodes=few: select.episodes: 'few' "),
    ],
)
def test_what_is_refused_exits_with_2_and_changes_nothing(folder, gaelp_ray, words, line):
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    code, out, err = gaelp_ray("resume", "small", *words)
    assert code == 2 and out == "" and err.startswith(line)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
