"""A winner goes to W&B with all that is known of it, and is the best there only if the gate lets it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import wandb
import yaml
from begun_sweeps import begun
from judged_models import save

from gaelp_ray.checkpoint import load_model
from gaelp_ray.cli.main import main
from gaelp_ray.evidence.budget_curve import fit_budget_curve
from gaelp_ray.evidence.decline import Card
from gaelp_ray.results import Candidate, SeedResult, Selection, TrialResult, TrialStatus
from gaelp_ray.sweep.outcome.about import metadata
from gaelp_ray.sweep.outcome.gate import Gate
from gaelp_ray.sweep.outcome.publishing import OWN_ALIASES, conclude, trial_run
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.session import environment_set
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.sweep.store.journal import End
from gaelp_ray.sweep.trials.settings import SharedSettings
from gaelp_ray.tracking.modes import TrackingMode, environment
from gaelp_ray.tracking.offline import offline_runs
from gaelp_ray.tracking.process import SERVICE
from gaelp_ray.training import evaluate

GOOD, BAD = {"agent_type": "BayesDual"}, {"agent_type": "constant", "constant": {"bid_multiplier": 1.5}}
NAME = "team/demo/small-best"
FILE = {
    "method": "grid",
    "project": "demo",
    "parameters": {"batch_size": {"values": [16]}},
    "trial": {"num_episodes": 16},
    "select": {"episodes": 48, "include_default": False, "top_k": 1, "min_delivery": 0.5},
}


@pytest.fixture(autouse=True)
def anew():
    yield
    SERVICE.__init__()


@pytest.fixture
def end(tmp_path):
    """Ends a sweep of one trial with a model of these fields, without Ray: its folder."""

    def end(model, mode="online", storage="results", again: SweepFolder | None = None, **keys) -> SweepFolder:
        file = tmp_path / "small.yaml"
        file.write_text(yaml.safe_dump({"name": "small", "storage": str(tmp_path / storage), **FILE, **keys}))
        folder = again or begun(file, 1, [End("completed")], "")
        plan = plan_sweep(folder.path / "sweep.yaml")
        checkpoint = save(str(tmp_path / storage / ".weights"), **model)
        flown = load_model(checkpoint)
        evaluation = evaluate(flown.agent, flown.market, 48, [1, 1])
        seed = plan.trials[0].seeds[0]
        trial = TrialResult(
            "small-00", TrialStatus.COMPLETED, {"batch_size": 16}, flown.config.to_dict(), metrics={"roas": 1.0},
            checkpoint=str(checkpoint), seeds=(SeedResult(seed, {}, str(checkpoint)),),
        )  # fmt: skip
        kept = Candidate("small-00", "candidate", evaluation, trial, confirmed=True, weights={"seed": seed})
        selection = Selection((kept,), {}, kept, "because", decision="winner", rule="above")
        settings = SharedSettings.of(plan, folder.path, folder.read_provenance()["id"], mode)
        if mode == "online":  # the trial has had its run
            wandb.init(project="demo", id=f"small-00-{settings.sweep_id}").finish()
        with environment_set(environment(TrackingMode(mode, ""), folder.path)):
            conclude(plan, settings, folder, selection, [trial])
        return folder

    return end


@pytest.fixture
def typed(monkeypatch, capsys):
    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["gaelp-ray", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


def told(folder: SweepFolder) -> dict:
    return folder.read_selection()["artifact"]


def keys(content) -> int:
    return sum(1 + keys(value) for value in content.values()) if isinstance(content, dict) else 0


def test_model_json_has_roas_by_budget_of_the_confirmed_flights(end):
    model = load_model(end(GOOD, mode="disabled").best)
    flown = evaluate(model.agent, model.market, 48, [1, 1]).totals
    assert model.about["roas_by_budget"] == asdict(fit_budget_curve(flown))
    assert Card.of(model.about).curve.elasticity < 0


def test_decision_that_replaces_one_on_more_episodes_says_so(end):
    folder = end(GOOD, mode="disabled")
    assert folder.read_selection()["change"] == ""
    before = json.loads((folder.best / "model.json").read_text())
    before["about"] |= {"trial": "small-07", "selected": {"decision": "winner", "episodes": 16384}}
    (folder.best / "model.json").write_text(json.dumps(before))
    change = end(GOOD, mode="disabled", again=folder).read_selection()["change"]
    assert change.startswith("the selected model changed from small-07 (winner, 16,384 episodes per arm) to small-00 (")
    assert "--set select.episodes=16384" in change


def test_the_first_is_published_with_all_that_is_known_of_it(wandb_server, end, tmp_path):
    folder = end(GOOD, publish={"registry": "bidders"})
    record, artifact = folder.read_selection(), told(folder)
    assert (artifact["name"], artifact["version"], artifact["error"]) == ("small-best", "v0", None)
    assert artifact["aliases"] == ["best", "candidate", "latest", "small"]
    assert artifact["gate"]["promoted"] and artifact["gate"]["passed"] and artifact["gate"]["against"] is None

    version = wandb_server.state().artifacts[f"{NAME}:v0"]
    assert set(version.files) == {"model.json", "model.npz", "card.md", "sweep.yaml"}
    linked = wandb_server.state().collections["team-org/wandb-registry-bidders/small-best"]
    assert linked["best"] == f"{NAME}:v0"
    about, began = json.loads(version.metadata), folder.read_provenance()
    earned = record["winner"]["evaluation"]
    run = f"small-00-{began['id']}"
    assert (about["trial"], about["agent"], about["params"]) == ("small-00", "BayesDual", {"batch_size": 16})
    assert about["config"] == {"agent_type": "BayesDual"}  # all else is as by default
    assert about["metrics"]["roas"] == earned["roas"] and about["metrics"]["flights"] == 48
    assert about["intervals"]["roas"] == [earned["roas_low"], earned["roas_high"]]
    low, high = about["intervals"]["cpa"]
    assert low < about["metrics"]["cpa"] < high
    assert (
        about["market"] == began["market"] and about["git"] == began["git"] and about["versions"] == began["versions"]
    )
    assert about["seeds"] == {"sweep": 0, "trial": [0], "model": 0}
    assert (about["decision"], about["rule"], about["tied"]) == ("winner", "above", [])
    url = f"{wandb_server.url}/team/demo/runs/{run}"
    assert about["trained_by"] == {"run": run, "path": f"team/demo/{run}", "url": url}
    assert keys(about) < 100
    assert wandb_server.run(f"demo/{run}").logged == [f"{NAME}:v0"]
    select = wandb_server.run(f"demo/small-select-{began['id']}")
    assert select.summary["gate/promoted"] is True and select.summary["trained_by/url"] == url

    card = (folder.best / "card.md").read_text()
    assert f"Trained by the W&B run `demo/{run}`" in card and began["market"]["hash"] in card
    got = wandb.Api().artifact(f"{NAME}:best").download(root=str(tmp_path / "got"))
    assert load_model(Path(got)).about["trial"] == "small-00"
    assert yaml.safe_load((tmp_path / "got" / "sweep.yaml").read_text())["name"] == "small"


def test_a_worse_one_stays_a_candidate_and_holds_the_pipeline_up_until_it_is_better(wandb_server, end, typed, tmp_path):
    end(GOOD)
    worse = end(BAD, storage="worse", publish={"gate": {}})
    gate = told(worse)["gate"]
    assert (gate["promoted"], gate["passed"], gate["verdict"]) == (False, False, "below")
    assert gate["against"] == f"{NAME}:v0" and gate["low"] < gate["difference"] < gate["high"] < 0.0
    assert told(worse)["aliases"] == ["candidate", "latest", "small"]
    assert wandb_server.state().collections[NAME]["best"] == f"{NAME}:v0"
    code, out = typed("sync", worse.path)
    assert code == 1 and f"gate: refused: below {NAME}:v0 (-" in out
    assert told(worse)["gate"] == gate  # the same flights
    code, out = typed("show", worse.path)
    assert code == 0 and f"gate: refused: below {NAME}:v0" in out


def test_what_was_kept_offline_is_judged_when_it_comes_to_the_server(wandb_server, end, typed, monkeypatch):
    end(BAD)
    later = end(GOOD, "offline", "later", publish={"gate": {"constraints": {"min_roas": 1.0}}})
    gate = told(later)["gate"]
    assert (gate["promoted"], gate["passed"], gate["against"]) == (False, True, None)
    assert gate["reason"].startswith("keeps min_roas 1.0; not compared with the present best: `gaelp-ray sync ")
    assert told(later)["aliases"] == ["candidate", "small"]
    (run,) = [run for run in offline_runs(later.wandb) if run.job_type == "select"]
    (model,) = [artifact for artifact in run.artifacts if artifact["type"] == "model"]
    assert "best" not in model["aliases"] and "sweep.yaml" in model["files"]
    wandb.init(project="demo", id=f"small-00-{later.read_provenance()['id']}").finish()
    wandb.teardown()

    for _ in range(2):  # again, it is told what had made it the best
        code, out = typed("sync", later.path)
        assert code == 0 and f"gate: passed, and it is the best now: above {NAME}:v0 (+" in out
        assert told(later)["gate"]["verdict"] == "above" and told(later)["version"] == "v1"
    assert wandb_server.state().collections[NAME]["best"] == f"{NAME}:v1"


def test_a_bound_that_is_broken_refuses_without_a_server(end, typed):
    folder = end(BAD, "disabled", publish={"gate": {"constraints": {"min_roas": 99}}})
    gate = told(folder)["gate"]
    assert (gate["promoted"], gate["passed"]) == (False, False)
    assert gate["reason"].startswith("roas ") and gate["reason"].endswith(" is below min_roas 99")
    kept = end(BAD, "disabled", "kept", publish={"gate": {}})
    assert told(kept)["gate"]["passed"] and told(kept)["gate"]["reason"].endswith("W&B is disabled")
    assert told(end(BAD, "disabled", "plain"))["gate"] is None
    assert "Trained by" not in (folder.best / "card.md").read_text()  # there are no runs


def test_a_server_that_is_away_leaves_the_model_in_the_folder(wandb_server, end, monkeypatch):
    wandb_server.fault("graphql", "status", status=403)
    monkeypatch.setattr(wandb, "init", lambda **_: wandb.Settings())  # the trial's run
    with monkeypatch.context() as patch:
        patch.setattr(wandb.Settings, "finish", lambda self: None, raising=False)
        folder = end(GOOD, publish={"gate": {}})
    artifact = told(folder)
    assert artifact["name"] is None and "refuses the W&B key" in artifact["error"]
    assert artifact["gate"]["passed"] and artifact["error"] in artifact["gate"]["reason"]
    assert load_model(folder.best).config.agent_type == "BayesDual"


def test_the_run_is_that_of_the_seed_whose_weights_were_kept(end):
    folder = end(BAD, "disabled")
    settings = SharedSettings.of(plan_sweep(folder.path / "sweep.yaml"), folder.path, "abc", "offline")
    plans = folder.history().plans
    plan = next(iter(plans.values()))
    further = {**plan, "name": "small-00-s2", "seeds": [9]}
    several = {**plan, "seeds": [3, 8]}
    other = {**several, "name": "small-01", "first": "small-01"}

    class Folder:
        def history(self):
            return type("History", (), {"plans": {"small-01": other, "small-00": several, "small-00-s2": further}})

    found = [trial_run(Folder(), settings, "small-00", {"seed": seed}) for seed in (3, 8, 9, 4)]
    assert found == ["small-00-s0-abc", "small-00-s1-abc", "small-00-s2-abc", ""]
    assert trial_run(folder, settings, "small-00", {}) == "small-00-abc"  # there is one only
    assert trial_run(folder, replace(settings, mode="disabled"), "small-00", {}) == ""


@pytest.mark.parametrize("name", ["best", "candidate", "latest", "v3"])
def test_no_sweeps_name_stands_for_another_alias(name):
    assert OWN_ALIASES.fullmatch(name)
    assert not OWN_ALIASES.fullmatch(f"{name}-june")


def test_a_sweep_that_is_called_best_is_not_the_best_by_its_name(end):
    assert told(end(BAD, "offline", name="best"))["aliases"] == ["candidate"]


def test_metadata_of_a_sweep_that_was_decided_by_an_earlier_version(end):
    folder = end(GOOD, "disabled")
    plan, record = plan_sweep(folder.path / "sweep.yaml"), folder.read_selection()
    for name in ("weights", "intervals"):
        del record["winner"][name]
    earned = record["winner"]["evaluation"]
    about = metadata(plan, record, {})
    assert about["intervals"] == {"roas": [earned["roas_low"], earned["roas_high"]]}
    assert about["seeds"]["model"] is None and about["git"] is None
    assert Gate(plan, folder.best, {"roas": math.nan}).alone() is None
    shutil.rmtree(folder.path)
