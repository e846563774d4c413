"""What a sweep that has begun may become: more configurations and other values, and what it may not."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from begun_sweeps import begun, record

from gaelp_ray.errors import StorageError, SweepFileError
from gaelp_ray.market.market import PRESETS
from gaelp_ray.market.stream import STREAM
from gaelp_ray.sweep.pipeline import resume_sweep
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.planning.reopened import require_same_stream
from gaelp_ray.sweep.planning.resumption import adopt, planned
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import End

DONE = End("completed")
RANDOM = {
    "method": "random",
    "run_cap": 4,
    "parameters": {"learning_rate": {"min": 0.001, "max": 0.01}},
    "trial": {"num_episodes": 32, "batch_size": 16},
}
GRID = {**{key: value for key, value in RANDOM.items() if key != "run_cap"}, "method": "grid"} | {
    "parameters": {"ppo.epochs": {"values": [1, 2, 3]}}
}


def params(plan):
    return [dict(trial.params) for trial in plan.trials if not trial.is_default]


def why_not(folder, extend=0, *changes):
    with pytest.raises(SweepFileError) as refused:
        planned(folder, extend, changes)
    return str(refused.value)


def test_further_configurations_are_those_that_a_longer_sweep_would_have(sweep_file):
    folder = begun(sweep_file(**RANDOM), 5, [DONE] * 5, "")
    longer = plan_sweep(sweep_file("longer", **RANDOM | {"run_cap": 7}))
    plan = planned(folder, 3)
    assert params(plan) == params(longer) and plan.spec.run_cap == 7
    assert [trial.name for trial in plan.trials][-2:] == ["small-05", "small-06"]
    assert planned(folder).spec.run_cap == 4  # nothing is written by looking
    adopt(folder, plan)
    again = planned(folder)
    assert params(again) == params(longer) and folder.history().searched is None
    assert len(folder.history().ends) == 5


def test_names_keep_their_width(sweep_file):
    folder = begun(sweep_file(**RANDOM), 2)
    names = [trial.name for trial in planned(folder, 120).trials]
    assert names[1] == "small-00" and names[2] == "small-01" and names[100:102] == ["small-99", "small-100"]
    adopt(folder, planned(folder, 120))
    assert [trial.name for trial in planned(folder).trials] == names


def test_bayes_is_extended_by_names_alone(sweep_file):
    folder = begun(sweep_file(**RANDOM | {"method": "bayes"}), 3)
    plan = planned(folder, 2)
    assert [trial.name for trial in plan.trials] == ["small-default", *(f"small-0{n}" for n in range(6))]
    assert "method bayes has learned" in why_not(folder, 2, "parameters.learning_rate.max=0.1")
    assert "select.constraints: method bayes" in why_not(folder, 0, "select.constraints.max_cpa=100")


def test_a_grid_goes_on_where_run_cap_cut_it_and_ends_where_it_ends(sweep_file):
    folder = begun(sweep_file(**GRID | {"run_cap": 1}), 2, [DONE] * 2, "")
    assert params(planned(folder, 2)) == [{"ppo.epochs": n} for n in (1, 2, 3)]
    assert why_not(folder, 3).startswith("--extend 3: the grid has only 2 further configurations")
    full = begun(sweep_file("full", **GRID), 4, [DONE] * 4, "")
    assert why_not(full, 1).startswith("--extend 1: the grid has no further configurations")


def test_values_that_are_added_to_a_grid_are_flown_after_all_others(sweep_file):
    folder = begun(sweep_file(**GRID), 4, [DONE] * 4, "")
    plan = planned(folder, 0, ["parameters.ppo.epochs.values=[5, 1, 2, 3, 4]"])
    assert params(plan) == [{"ppo.epochs": n} for n in (1, 2, 3, 5, 4)]
    one = planned(folder, 1, ["parameters.ppo.epochs.values=[5, 1, 2, 3, 4]"])
    assert params(one) == params(plan)[:4]
    adopt(folder, plan)
    assert params(planned(folder)) == params(plan)


def test_a_new_parameter_holds_what_all_trials_had(sweep_file):
    folder = begun(sweep_file(**GRID), 4, [DONE] * 4, "")
    default = planned(folder).trials[0].config.ppo.gae_lambda
    assert f"parameters.ppo.gae_lambda: all trials so far have {default}" in why_not(
        folder, 0, "parameters.ppo.gae_lambda.values=[0.1]"
    )
    wide = planned(folder, 0, [f"parameters.ppo.gae_lambda.values=[{default}, 0.5]"])
    new = params(wide)[3:]
    assert new == [{"ppo.epochs": n, "ppo.gae_lambda": 0.5} for n in (1, 2, 3)]


def test_a_wider_space_is_drawn_from_for_what_was_not_proposed_yet(sweep_file):
    folder = begun(sweep_file(**RANDOM), 3)
    before = params(planned(folder))
    plan = planned(folder, 40, ["parameters.learning_rate.max=1.0"])
    assert params(plan)[:2] == before[:2] and len(params(plan)) == 44
    assert max(values["learning_rate"] for values in params(plan)[2:]) > 0.5
    assert plan.trials[1].config == planned(folder).trials[1].config
    adopt(folder, plan)
    assert params(planned(folder)) == params(plan)


def test_no_configuration_comes_twice_in_a_wider_space(sweep_file):
    keys = RANDOM | {"parameters": {"ppo.epochs": {"values": [1, 2, 3, 4]}}}
    folder = begun(sweep_file(**keys), 5, [DONE] * 5, "")
    plan = planned(folder, 2, ["parameters.ppo.epochs.values=[1, 2, 3, 4, 5, 6]"])
    assert sorted(values["ppo.epochs"] for values in params(plan)) == [1, 2, 3, 4, 5, 6]
    assert "search space has only 2 further" in why_not(folder, 3, "parameters.ppo.epochs.values=[1, 2, 3, 4, 5, 6]")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["parameters.learning_rate.max=0.009"], "learning_rate: 0.001 to 0.009 does not hold all of 0.001 to 0.01"),
        (["parameters.learning_rate.min=0.002"], "learning_rate: 0.002 to 0.01 does not hold"),
        (["parameters.learning_rate.distribution=log_uniform_values"], "it is uniform, and log_uniform_values is no"),
        (["parameters={ppo.epochs: {values: [4]}}"], "learning_rate: trials have values of it"),
        (["parameters.ppo.epochs.values=[1000]"], "ppo.epochs"),
    ],
)
def test_a_space_that_does_not_hold_the_former_one_is_refused_with_its_key(sweep_file, changes, reason):
    assert reason in why_not(begun(sweep_file(**RANDOM), 2), 5, *changes)


def test_a_space_changes_only_for_further_configurations(sweep_file):
    folder = begun(sweep_file(**RANDOM), 2)
    assert "with --extend" in why_not(folder, 0, "parameters.learning_rate.max=0.1")


@pytest.mark.parametrize(
    "setting",
    [
        *("method=grid", "metric.goal=minimize", "seed=1", "seeds=2", "trial.num_episodes=64", "scheduler.type=asha"),
        *("early_terminate.type=hyperband", "name=other", "storage=elsewhere", "project=other"),
    ],
)
def test_what_makes_another_sweep_is_refused_with_its_key(sweep_file, setting):
    folder = begun(sweep_file(**RANDOM), 2)
    key = setting.partition("=")[0].partition(".")[0]
    assert why_not(folder, 0, setting).startswith(f"--set {key}: trials with another {key} are another sweep")


def test_what_may_change(sweep_file):
    folder = begun(sweep_file(**RANDOM), 2)
    changes = ["stop.iterations=2", "max_concurrent=1", "resources.cpu=0.5", "select.top_k=2", "tracking.group=g"]
    plan = planned(folder, 0, [*changes, "run_cap=6", "select.min_delivery=0.5"])
    adopt(folder, plan)
    written = planned(folder).spec
    assert (written.stop.iterations, written.max_concurrent, written.resources.cpu) == (2, 1, 0.5)
    assert (written.select.top_k, written.tracking.group, written.run_cap) == (2, "g", 6)
    (change,) = folder.read_provenance()["changes"]
    assert change["keys"]["run_cap"] == [4, 6] and change["keys"]["select.min_delivery"] == [0.95, 0.5]
    assert set(change["keys"]) >= {"stop.iterations", "max_concurrent", "resources.cpu", "tracking.group"}


def test_run_cap_only_goes_up_and_the_format_is_checked(sweep_file):
    folder = begun(sweep_file(**RANDOM), 2)
    assert why_not(folder, 0, "run_cap=3") == "run_cap: the sweep has 4 configurations already, and 3 is below that"
    assert "keep one of them" in why_not(folder, 1, "run_cap=9")
    assert "--extend -1" in why_not(folder, -1)
    assert "stopp" in why_not(folder, 0, "stopp.time=3")
    assert "is no time" in why_not(folder, 0, "stop.time=never")
    full = begun(sweep_file("full", **GRID), 4, [DONE] * 4, "")
    assert why_not(full, 0, "run_cap=9").startswith("run_cap: all 3 configurations")


@pytest.mark.parametrize(
    "keys",
    [{"seeds": {"min": 1, "max": 2}}, {"scheduler": {"type": "pbt"}}, {"scheduler": {"type": "hyperband"}}],
)
def test_trials_that_are_compared_from_their_start_on_get_no_company(sweep_file, keys):
    folder = begun(sweep_file(**RANDOM | keys), 2)
    key = next(iter(keys))
    line = why_not(folder, 2)
    assert line.startswith(f"{key}: ") and line.endswith("trials that start together: run a new sweep with more")
    assert planned(folder, 0, ["max_concurrent=2"]).spec.max_concurrent == 2


def test_the_control_arm_may_join_and_not_leave(sweep_file):
    without = begun(sweep_file(**RANDOM | {"select": {"include_default": False}}), 2, [DONE] * 2, "")
    plan = planned(without, 0, ["select.include_default=true"])
    assert [trial.name for trial in plan.trials[:3]] == ["small-00", "small-01", "small-default"]
    adopt(without, plan)
    assert without.history().searched is None
    assert "keep it" in why_not(without, 0, "select.include_default=false")


@pytest.mark.parametrize("change", ["select.min_delivery=0.5", "select.constraints.max_cpa=200"])
def test_bounds_of_a_winner_change_unless_bayes_has_judged_by_them(sweep_file, change):
    folder = begun(sweep_file(**RANDOM | {"scheduler": {"type": "asha"}}), 2)
    planned(folder, 0, [change])
    bayes = begun(sweep_file(**RANDOM | {"name": "bayes", "method": "bayes"}), 2)
    assert "method bayes has judged trials by it" in why_not(bayes, 0, change)


def test_a_rule_that_has_ended_a_sweep_needs_room(sweep_file):
    keys = RANDOM | {"stop": {"time": 0.001, "env_steps": 100, "target": 3.0}}
    cut = End("stopped", "stop.time: 0.001 s are over")
    itself = End("stopped", "stop.plateau: no better score for 3 iterations")
    folder = begun(sweep_file(**keys), 3, [DONE, itself, cut], "stop.time: 0.001 s are over")
    record(folder, "small-00", {"iteration": 1, "report": {"score": 3.5, "env_steps": 100}})
    lines = why_not(folder, 1).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["stop.time", "stop.env_steps", "stop.target"]
    assert "--set stop.env_steps=200" in lines[1] and "reached 3.5, and the target is 3:" in lines[2]
    roomy = ["stop.time=1h", "stop.env_steps=101", "stop.target=4"]
    adopt(folder, planned(folder, 0, roomy))
    history = folder.history()
    assert history.searched is None
    assert history.unfinished == ["small-01"]  # which the rule had cut; those that ended by themselves stay


def test_other_wishes_do_not_open_the_search_again(sweep_file):
    folder = begun(sweep_file(**RANDOM | {"stop": {"time": 0.001}}), 2, [DONE] * 2, "stop.time: 0.001 s are over")
    adopt(folder, planned(folder, 0, ["select.top_k=1"]))
    assert folder.history().searched == "stop.time: 0.001 s are over"


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", ["again", "reopen", "write_provenance", "keep_markets", "write_spec"])
def test_a_kill_leaves_the_sweep_as_it_was(sweep_file, monkeypatch, at):
    from gaelp_ray.sweep.store.journal import Journal

    folder = begun(sweep_file(**RANDOM), 5, [DONE] * 5, "")
    plan = planned(folder, 2)

    def die(*given):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Journal if at == "again" else SweepFolder, at, die)
        with pytest.raises(Killed):
            adopt(folder, plan)
    assert len(planned(folder).trials) == 5 and len(folder.history().ends) == 5
    adopt(folder, planned(folder, 2))
    assert planned(folder).trials == plan.trials


@pytest.fixture
def with_market(sweep_file, tmp_path, monkeypatch):
    """A sweep over a market file that is named relative to the working directory, begun."""
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text((PRESETS / "airfrance-search.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return begun(sweep_file(**RANDOM | {"trial": {"market": "shop.yaml", "num_episodes": 32}}), 3)


def test_a_moved_sweep_finds_its_market_and_has_the_same_trials(with_market, tmp_path, monkeypatch):
    before = planned(with_market)
    moved = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(with_market.path, moved)
    shutil.rmtree(with_market.path)
    Path("shop.yaml").unlink()
    monkeypatch.chdir(tmp_path / "elsewhere")
    after = planned(SweepFolder(moved))
    assert after.trials[0].config.market == str(moved / "markets" / "shop.yaml")
    assert [trial.config_id for trial in after.trials] == [trial.config_id for trial in before.trials]
    assert params(after) == params(before) and after.market.hash == before.market.hash
    adopt(SweepFolder(moved), planned(SweepFolder(moved), 1))
    written = yaml.safe_load((moved / "sweep.yaml").read_text(encoding="utf-8"))
    assert written["trial"]["market"] == "shop.yaml" and written["storage"] == str(tmp_path / "results")


def test_a_market_that_has_changed_is_refused(with_market):
    kept = with_market.path / "markets" / "shop.yaml"
    text = kept.read_text(encoding="utf-8")
    kept.write_text(text.replace("description: ", "description: Other. ", 1), encoding="utf-8")
    with pytest.raises(StorageError, match=r"markets/shop\.yaml has other numbers than when the sweep began"):
        planned(with_market)


def test_other_markets_come_along_and_keep_their_names(sweep_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (PRESETS / "airfrance-search.yaml").read_text(encoding="utf-8")
    Path("shop.yaml").write_text(text, encoding="utf-8")
    names = ("shop.yaml@nominal", "airfrance-search@nominal")
    folder = begun(sweep_file(**RANDOM | {"select": {"markets": list(names)}}), 5, [DONE] * 5, "")
    Path("shop.yaml").write_text("name: changed since", encoding="utf-8")
    moved = SweepFolder(folder.path.rename(tmp_path / "moved"))
    plan = planned(moved, 1)
    assert plan.spec.select.markets == names and tuple(plan.other_markets) == names
    assert len({market.hash for market in plan.other_markets.values()}) == 1
    adopt(moved, plan)
    assert planned(moved).spec.select.markets == names


def test_a_sweep_that_has_ended_may_fly_in_further_markets(sweep_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (PRESETS / "airfrance-search.yaml").read_text(encoding="utf-8")
    for number in (1, 2):
        Path(f"{number}").mkdir()
        Path(f"{number}/shop.yaml").write_text(text.replace("description: ", f"description: {number}", 1), "utf-8")
    folder = begun(sweep_file(**RANDOM | {"select": {"markets": ["1/shop.yaml"]}}), 5, [DONE] * 5, "")
    first = planned(folder).other_markets["1/shop.yaml"].hash
    setting = "select.markets=[2/shop.yaml, 1/shop.yaml, airfrance-search]"
    plan = planned(folder, 0, [setting])
    assert plan.trials == planned(folder).trials and plan.spec.select.markets[0] == "2/shop.yaml"
    assert why_not(folder, 0, "select.markets=[mars]").startswith(
        "--set select.markets=[mars]: select.markets.0: unknown market 'mars'"
    )
    adopt(folder, plan)
    shutil.rmtree("1")
    shutil.rmtree("2")
    again = planned(folder)
    assert tuple(again.other_markets) == ("2/shop.yaml", "1/shop.yaml", "airfrance-search")
    hashes = [market.hash for market in again.other_markets.values()]
    assert hashes[1] == first and hashes == [market.hash for market in plan.other_markets.values()]
    assert len(set(hashes)) == 3
    (changed,) = folder.read_provenance()["changes"]
    assert changed["keys"] == {"select.markets": [["1/shop.yaml"], list(again.other_markets)]}


def test_a_shipped_market_that_has_changed_names_the_versions(sweep_file):
    folder = begun(sweep_file(**RANDOM), 1)
    folder.write_provenance(
        folder.read_provenance() | {"market": {"name": "x", "hash": "other"}, "versions": {"gaelp_ray": "0.0.9"}}
    )
    with pytest.raises(StorageError, match=r"airfrance-search has other .*: go on with gaelp_ray 0\.0\.9 \(this is 0"):
        planned(folder)


@pytest.mark.parametrize(("recorded", "named"), [({}, 1), ({"stream": 1}, 1), ({"stream": 3}, 3)])
def test_resume_refuses_to_mix_random_number_streams(sweep_file, recorded, named):
    folder = begun(sweep_file(**RANDOM), 1)
    require_same_stream(folder, planned(folder))
    began = {name: value for name, value in folder.read_provenance().items() if name != "stream"}
    folder.write_provenance(began | recorded | {"git": {"commit": "abcdef0123456789", "dirty": False}})
    with pytest.raises(StorageError) as caught:
        resume_sweep(folder.path)
    assert str(caught.value) == (
        f"{folder.path.name} was run on random-number stream {named}, this version uses stream {STREAM}, and their "
        "episodes cannot be compared: run a new sweep, or resume with the version that began it (commit abcdef01). "
        "`show` and `best` still read it"
    )


def test_own_environments_are_resumed_whatever_the_stream(sweep_file, shop):
    shop()
    keys = RANDOM | {"trial": {"env": "shop:Shop", "num_episodes": 32, "ppo.reference": "none"}}
    folder = begun(sweep_file(**keys | {"parameters": {"ppo.initial_std": {"min": 0.1, "max": 0.3}}}), 1)
    folder.write_provenance(folder.read_provenance() | {"stream": 1})
    require_same_stream(folder, planned(folder))


def test_an_own_environment_must_be_there_and_the_same(sweep_file, shop, tmp_path, monkeypatch):
    shop()
    keys = RANDOM | {"trial": {"env": "shop:Shop", "num_episodes": 32, "ppo.reference": "none"}}
    folder = begun(sweep_file(**keys | {"parameters": {"ppo.initial_std": {"min": 0.1, "max": 0.3}}}), 1)
    planned(folder)
    shop({"0.5": "0.6"})
    with pytest.raises(StorageError, match=r"environment shop:Shop is not what it was .*: its module was changed"):
        planned(folder)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    (tmp_path / "shop.py").unlink()
    sys.modules.pop("shop")
    shop_gone = why_not(folder)
    assert "no module 'shop'" in shop_gone and "run in the folder that holds it" in shop_gone


def test_fixed_fields_that_were_changed_by_hand_are_refused(sweep_file):
    folder = begun(sweep_file(**RANDOM), 2)
    path = folder.path / "sweep.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("num_episodes: 32", "num_episodes: 64"), encoding="utf-8")
    assert "trial.num_episodes is 64 now, and was 32 when small-default began: set it back" in why_not(folder)


def test_the_journal_keeps_what_was_proposed_whatever_would_be_drawn_now(sweep_file):
    folder = begun(sweep_file(**RANDOM), 3, [DONE])
    journal = folder.path / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    (plan,) = [line["plan"] for line in lines if line.get("plan", {}).get("name") == "small-00"]
    plan["params"]["learning_rate"] = plan["config"]["learning_rate"] = 0.005
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    trial = planned(folder).trials[1]
    assert dict(trial.params) == {"learning_rate": 0.005} and trial.config.learning_rate == 0.005
    assert asdict(trial)["seeds"] == (0,)
