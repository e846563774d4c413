"""What one trial leaves: its record, its checkpoints, and how it ended."""

from __future__ import annotations

import pytest

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.store.lines import LineWriter
from gaelp_ray.sweep.store.trial_files import TrialFiles

PLAN, OTHER = {"name": "a", "params": {"x": 1}}, {"name": "a", "params": {"x": 2}}


@pytest.fixture
def files(tmp_path) -> TrialFiles:
    return TrialFiles(tmp_path, "a")


def row(iteration: int, **report):
    return {"iteration": iteration, "report": report}


def write(files, *lines):
    with LineWriter(files.record) as writer:
        for line in lines:
            writer.append(line)


def save(files, iteration, content="weights"):
    files.save(iteration, lambda folder: (folder / "model").write_text(content) and None)


def test_a_trial_that_has_not_begun_has_an_empty_record(files):
    record = files.read()
    assert (record.plan, record.rows, record.last, record.lines_until(0)) == (None, [], {}, 0)
    assert files.checkpoints() == [] and files.read_end() is None
    assert not files.folder.exists()


def test_a_record_has_its_iterations_and_its_last_plan(files):
    write(files, {"plan": PLAN}, row(1, score=1.0), row(2, score=2.0), {"plan": OTHER}, row(3, score=3.0))
    record = files.read()
    assert record.plan == OTHER and [line["iteration"] for line in record.rows] == [1, 2, 3]
    assert record.last == {"score": 3.0}
    assert [record.lines_until(iteration) for iteration in range(4)] == [0, 2, 3, 5]


def test_lines_out_of_their_order_do_not_count(files):
    write(files, {"plan": PLAN}, row(1, score=1.0), row(1, score=9.0), row(3, score=3.0), row(2, score=2.0), {"x": 1})
    record = files.read()
    assert [line["report"]["score"] for line in record.rows] == [1.0, 2.0]
    assert record.lines_until(2) == 5


def test_checkpoints_come_by_number_and_are_whole(files):
    for iteration in (10, 9, 100):
        save(files, iteration)
        assert files.is_whole(iteration)
    assert files.checkpoints() == [9, 10, 100]
    files.keep([10, 7])
    assert files.checkpoints() == [10]


def test_a_checkpoint_appears_whole_or_not_at_all(files):
    def half(folder):
        (folder / "model").write_text("wei")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.save(3, half)
    assert files.checkpoints() == [] and not files.is_whole(3)
    save(files, 3)
    assert (files.checkpoint(3) / "model").read_text() == "weights"
    save(files, 3, "others")  # the same iteration has the same weights
    assert (files.checkpoint(3) / "model").read_text() == "weights"
    assert [path.name for path in files.checkpoint(3).parent.iterdir()] == ["000003"]


def change(folder):
    (folder / "model").write_text("weighty")


def add(folder):
    (folder / "more").write_text("")


def remove(folder):
    (folder / "model").unlink()


def forget(folder):
    (folder / "sha256.json").write_bytes(b"")


@pytest.mark.parametrize("damage", [change, add, remove, forget])
def test_a_checkpoint_that_is_not_as_it_was_written_is_not_whole(files, damage):
    save(files, 3)
    damage(files.checkpoint(3))
    assert not files.is_whole(3) and files.checkpoints() == [3]


def test_half_a_checkpoint_that_was_fetched_is_replaced(files):
    half = files.checkpoint(3)
    (half / "best").mkdir(parents=True)
    save(files, 3)
    assert files.is_whole(3) and (half / "model").read_text() == "weights" and not (half / "best").exists()


def test_an_end_is_told_until_the_trial_goes_on(files):
    files.write_end("stopped", "by the scheduler")
    assert files.read_end() == ("stopped", "by the scheduler")
    files.write_end("completed", "")
    assert files.read_end() == ("completed", "")
    files.go_on()
    assert files.read_end() is None
    files.go_on()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": "failed"}'])
def test_a_damaged_end_says_what_to_do(files, content):
    files.write_end("failed", "x")
    (files.folder / "end.json").write_text(content)
    with pytest.raises(StorageError, match=r"end\.json is damaged .*: delete it"):
        files.read_end()
