"""A recorded trial, repeated here: bit for bit, or up to the first number that differs."""

from __future__ import annotations

import hashlib
import json
import math
import shutil

import pytest
import yaml
from begun_sweeps import begun, fly

from gaelp_ray.errors import StorageError
from gaelp_ray.sweep.planning.resumption import adopt, planned
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import Exploit, Journal
from gaelp_ray.sweep.trials import seed_run
from gaelp_ray.sweep.trials.lockstep import Lockstep
from gaelp_ray.sweep.trials.rerun import ABSENT, Difference, rerun

KEYS = {
    "method": "random",
    "run_cap": 2,
    "parameters": {"ppo.initial_std": {"min": 0.1, "max": 0.2}},
    "trial": {"num_episodes": 48, "batch_size": 16},
    "seeds": 2,
}


@pytest.fixture(autouse=True, scope="module")
def few_validation_flights():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(seed_run, "VALIDATION_EPISODES", 16)
        yield


@pytest.fixture(scope="module")
def flown(tmp_path_factory):
    """A sweep with a trial that was trained to its end, one that was stopped after two of three, and an empty one."""
    here = tmp_path_factory.mktemp("flown")
    file = here / "small.yaml"
    file.write_text(yaml.safe_dump({"name": "small", "storage": str(here / "results"), **KEYS}), encoding="utf-8")
    folder = begun(file, 3)
    fly(folder, "small-00", 3)
    fly(folder, "small-01", 2)
    return folder


@pytest.fixture
def copied(flown, tmp_path):
    return SweepFolder(shutil.copytree(flown.path, tmp_path / "small"))


def rewritten(folder, trial, iteration, change):
    """Change one line of a trial's record."""
    path = folder.path / "trials" / trial / "record.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(lines[iteration - 1])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def digest(folder):
    files = sorted(path for path in folder.path.rglob("*") if path.is_file())
    return [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_a_trial_repeats_bit_for_bit_and_leaves_no_trace(flown):
    before, told = digest(flown), []
    found = rerun(flown, "small-00", lambda done, total: told.append((done, total)))
    assert found.exact and found.whole and found.iterations == 3
    assert told[0] == (0, 3) and told[-1] == (3, 3)
    assert digest(flown) == before


def test_a_trial_that_was_stopped_early_is_compared_as_far_as_it_went(flown):
    found = rerun(flown, "small-01")
    assert found.exact and not found.whole and found.iterations == 2


def test_the_last_bit_of_a_number_is_noticed(copied):
    values = {}

    def nudge(line):
        values["was"] = line["report"]["revenue"]
        line["report"]["revenue"] = values["now"] = math.nextafter(values["was"], math.inf)

    rewritten(copied, "small-00", 2, nudge)
    found = rerun(copied, "small-00")
    assert found.difference == Difference(2, "revenue", values["now"], values["was"]) and found.iterations == 2


@pytest.mark.parametrize(
    ("iteration", "path", "metric"),
    [
        (3, ("report", "seeds", 1, "validation", "roas"), "seeds.1.validation.roas"),
        (3, ("report", "final_score"), "final_score"),
        (1, ("runs", 1, "performance/roas"), "seed-1.performance/roas"),
    ],
)
def test_the_validation_and_every_seed_are_compared(copied, iteration, path, metric):
    def change(line):
        for key in path[:-1]:
            line = line[key]
        line[path[-1]] += 1.0

    rewritten(copied, "small-00", iteration, change)
    difference = rerun(copied, "small-00").difference
    assert difference is not None and (difference.iteration, difference.metric) == (iteration, metric)


def test_a_number_that_is_missing_differs_and_clocks_and_memory_do_not(copied):
    clocks = {"seconds": 1e9, "cpu_seconds": 1e9, "memory": 1}
    rewritten(copied, "small-01", 1, lambda line: line["report"].update(clocks))
    assert rerun(copied, "small-01").exact
    rewritten(copied, "small-01", 1, lambda line: line["report"].pop("cost"))
    difference = rerun(copied, "small-01").difference
    assert difference is not None and (difference.metric, difference.recorded) == ("cost", ABSENT)


def test_nan_is_like_nan(copied, monkeypatch):
    step = Lockstep.step

    def without_a_number(self):
        report, rows = step(self)
        return report | {"roas": float("nan")}, rows

    monkeypatch.setattr(Lockstep, "step", without_a_number)
    rewritten(copied, "small-01", 1, lambda line: line["report"].update(roas=float("nan")))
    difference = rerun(copied, "small-01").difference
    assert difference is not None and difference.iteration == 2


def test_it_says_what_is_not_as_it_was(copied):
    began = copied.read_provenance()
    versions = {**began["versions"], "numpy": "1.0"}
    copied.write_provenance(
        began
        | {"versions": versions, "python": "3.9.1", "git": {"commit": "abc", "dirty": False}, "platform": "VAX"}
        | {"matrix_products": "mkl"}
    )
    since = rerun(copied, "small-01").since
    assert since["versions.numpy"][0] == "1.0" and since["python"][0] == "3.9.1" and since["platform"][0] == "VAX"
    assert since["git.commit" if "git.commit" in since else "git"][0] in ("abc", None)
    assert since["matrix_products"][0] == "mkl" and "versions.ray" not in since


def test_another_market_is_said_and_not_refused(copied):
    copied.write_provenance(copied.read_provenance() | {"market": {"name": "airfrance-search", "hash": "other"}})
    found = rerun(copied, "small-01")
    assert found.exact and found.since["market.hash"][0] == "other" and "market.name" not in found.since


def test_rerun_repeats_the_record_after_the_bounds_of_a_winner_changed(copied):
    adopt(copied, planned(copied, 0, ["select.min_delivery=0.999999", "stop.iterations=1"]))
    assert rerun(copied, "small-00").exact and rerun(copied, "small-01").exact


def test_what_cannot_be_repeated_is_said_in_one_line(copied):
    with pytest.raises(StorageError, match=r"^no trial 'small-1' in this sweep\. Did you mean 'small-01'\?$"):
        rerun(copied, "small-1")
    with pytest.raises(StorageError, match=r"^small-default has no recorded iteration that could be compared$"):
        rerun(copied, "small-default")
    journal = Journal(copied.path)
    journal.exploit(Exploit("small-01", "small-00", 2, 2, {}, {}))
    journal.close()
    with pytest.raises(StorageError, match=r"^small-01 went on from the weights of small-00, as in a population"):
        rerun(copied, "small-01")
    assert rerun(copied, "small-00").exact
