"""A training goes on from where it ended, and from nowhere else."""

import asyncio
import types
from pathlib import Path

import pytest
from trainings import FIXED, SMALL, episode_rows, flown, runs, said

from gaelp_ray import GAELPExperimentConfig, IntegratedGAELPTrainer
from gaelp_ray import trainer as module
from gaelp_ray.checkpoint import load_model
from gaelp_ray.errors import ConfigError, MarketError, ModelError, StorageError
from gaelp_ray.training import train


def state_of(agent) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in agent.state_dict().items()}


def stopped(trainer: IntegratedGAELPTrainer, after: int) -> None:
    """Train, and cancel the task once so many episodes have been flown."""

    async def start() -> None:
        task = asyncio.create_task(trainer.train())
        while len(trainer.results) < after:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(start())


@pytest.mark.parametrize(
    "changes",
    [{}, {"agent_type": "CEM", "cem": {"population": 4}}],
    ids=["PPO", "CEM"],
)
def test_stopped_and_continued_it_repeats_an_uninterrupted_one_bit_for_bit(off, changes):
    config = SMALL.replace(changes)
    whole = flown(config, "whole")
    stopped(IntegratedGAELPTrainer("trip", False, config), after=8)
    again = IntegratedGAELPTrainer("trip", False, config)
    assert again.results == whole.results[:8]
    assert asyncio.run(again.train()) == whole.results
    assert state_of(again.agent) == state_of(whole.agent)
    assert [path.name for path in again.checkpoints.folder.iterdir()] == ["iteration-000003"]


def test_the_run_of_a_continued_training_shows_all_episodes(here):
    config = FIXED.replace({"num_episodes": 20})
    first = IntegratedGAELPTrainer("trip", config=config)
    stopped(first, after=12)
    first.tracker.finish(exit_code=130)
    again = IntegratedGAELPTrainer("trip", config=config)
    results = asyncio.run(again.train())
    again.finish_training()
    broken, whole = sorted(runs(here), key=lambda run: run.exit_code, reverse=True)
    assert (broken.exit_code, whole.exit_code) == (130, 0)
    assert [row["episode/total_reward"] for row in episode_rows(whole)] == [e["total_reward"] for e in results]
    assert episode_rows(broken)[-1]["episode/number"] == 12
    assert [row["episode/number"] for row in whole.history if "batch/reward_trend" in row] == [10, 20]
    assert [row["episode/number"] for row in whole.history if "batch/roas_vs_bayesdual" in row] == [10, 20]


def test_more_episodes_go_on_from_where_it_ended(off):
    first = flown(FIXED, episodes=8)
    before = list(first.results)
    assert asyncio.run(first.train(12))[:8] == before
    later = flown(FIXED, episodes=20)
    assert later.results == flown(FIXED, "whole", episodes=20).results
    assert [path.name for path in later.checkpoints.folder.iterdir()] == ["iteration-000005"]


def test_with_nothing_left_nothing_is_trained(off):
    before = flown(SMALL)
    for episodes in (12, 9, 3, None):
        again = flown(SMALL, episodes=episodes)
        assert again.results == before.results
        assert state_of(again.agent) == state_of(before.agent)
        assert load_model(again.checkpoints.last).config == SMALL


def test_returned_episodes_are_the_callers_own(off):
    trainer = flown(FIXED)
    asyncio.run(trainer.train()).clear()
    assert len(trainer.results) == 8


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.01}, "learning_rate: 0.001 there, 0.01 now"),
        ({"ppo.hidden_size": 16}, "ppo.hidden_size: 8 there, 16 now"),
    ],
)
def test_another_configuration_under_the_same_name_is_refused(here, changes, words):
    flown(SMALL, episodes=4)
    before = contents(here)
    with pytest.raises(StorageError) as refused:
        IntegratedGAELPTrainer("trip", True, SMALL.replace(changes))
    (line,) = str(refused.value).splitlines()
    assert words in line
    assert contents(here) == before  # no run was started


@pytest.mark.parametrize(
    ("name", "content"), [("progress.json", b'{"iterations": 1, "epi'), ("model.npz", b"PK"), ("model.json", b"")]
)
def test_a_damaged_checkpoint_is_refused_and_stays(here, name, content):
    damaged = flown(FIXED).checkpoints.last / name
    damaged.write_bytes(content)
    before = contents(here)
    with pytest.raises(ModelError) as refused:
        IntegratedGAELPTrainer("trip", True, FIXED)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{damaged} is damaged")
    assert line.endswith("delete gaelp_checkpoints/trip to start anew")
    assert contents(here) == before


@pytest.mark.parametrize(
    ("values", "error"), [({"agent_type": "PPOO"}, ConfigError), ({"market": "mars"}, MarketError)]
)
def test_what_cannot_be_trained_is_refused_before_anything_is_made(here, values, error):
    with pytest.raises(error):
        IntegratedGAELPTrainer("trip", True, GAELPExperimentConfig(**values))
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_warning_and_the_training_goes_on(off, caplog, monkeypatch):
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    (off / "gaelp_checkpoints").touch()
    trainer = flown(FIXED)
    (line,) = said(caplog)
    assert line.startswith("no checkpoint could be written to gaelp_checkpoints/trip (")
    assert len(trainer.results) == 8
    assert trainer.checkpoints.last is None


def test_a_long_training_is_saved_in_between(off, monkeypatch):
    saved = []
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(module.Checkpoints, "save", lambda _, progress: saved.append(len(progress.episodes)))
    flown(FIXED, episodes=12)
    assert saved == [4, 8, 12, 12]


def test_saving_takes_no_large_share_of_a_training(off, monkeypatch):
    seconds, saved = [0.0], []
    monkeypatch.setattr(module, "SAVE_SECONDS", 1.5)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: seconds[0]))

    def train_a_second_each(*_):
        for iteration in train(*_):
            seconds[0] += 1.0
            yield iteration

    def save_in_half_a_second(_, progress):
        seconds[0] += 0.5
        saved.append(progress.iterations)

    monkeypatch.setattr(module, "train", train_a_second_each)
    monkeypatch.setattr(module.Checkpoints, "save", save_in_half_a_second)
    flown(FIXED, episodes=100)
    assert saved == [2, 13, 24, 25]  # every 1.5 seconds at first, then half a second of every ten
