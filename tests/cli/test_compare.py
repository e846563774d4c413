"""`gaelp-ray compare`: who is better than whom, told once for all pairs, and logged as a W&B run when asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from judged_models import save

from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.cli.comparing import _best
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.evidence.contest import duels
from gaelp_ray.market import load_market
from gaelp_ray.tracking.offline import offline_runs
from gaelp_ray.training import Stream, evaluate
from gaelp_ray.worlds import untrained, world_of


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """A planner, a pacer that is worse, and a bidder that does not deliver."""
    monkeypatch.chdir(tmp_path)
    save("planner")
    save("pacer", agent_type="BayesPID")
    save("shy", agent_type="constant")


def test_the_better_model_is_above_the_other(gaelp_ray):
    code, out, err = gaelp_ray("compare", "planner", "pacer", "--episodes", 128, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    arms = {}
    for label, name in (("A", "planner"), ("B", "pacer")):
        model = load_model(Path(name))
        arms[label] = evaluate(model.agent, model.market, 128, [0, Stream.EVALUATION]).totals
    (pair,) = facts["pairs"]
    for metric in ("expected_delivered_roas", "roas", "delivery", "optimality"):
        (duel,) = duels(arms, metric, 0.95)
        assert pair[metric]["difference"] == duel.found.difference
        assert (pair[metric]["low"], pair[metric]["high"]) == (duel.found.interval.low, duel.found.interval.high)
        assert pair[metric]["probability"] == duel.probability > 0.99
        assert pair[metric]["verdict"] == "above"
    assert facts["best"] == "A"
    assert [model["roas"] for model in facts["models"]] == [totals.pooled().roas for totals in arms.values()]


def test_a_person_reads_models_pairs_and_who_is_best(gaelp_ray):
    code, out, _ = gaelp_ray("compare", "planner", "pacer", "shy", "--episodes", 128, "--confidence", 0.9)
    lines = out.splitlines()
    assert code == 0 and lines[0] == "128 fresh flights through airfrance-search, the same for all"
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["A", "planner", "BayesDual"],
        ["B", "pacer", "BayesPID"],
        ["C", "shy", "constant"],
    ]
    assert "├" in lines[2] and "●" in lines[2]
    verdicts = {line[:5]: line.split("%")[1].split()[0] for line in lines[7:10]}
    assert verdicts == {"A - B": "above", "A - C": "above", "B - C": "above"}
    assert "┊" in lines[7]
    assert lines[10] == "score: expected revenue / budget; ROAS: realised revenue / cost"
    assert lines[11] == "A (planner) is above all others at 90% (the intervals of all 3 pairs hold together)"
    assert lines[12] == "C: delivers less than 95% of the budget, too little to win a sweep"


def test_equal_models_are_a_tie(gaelp_ray):
    save("twin")
    code, out, _ = gaelp_ray("compare", "planner", "twin", "--episodes", 32, "--json")
    (pair,) = json.loads(out)["pairs"]
    assert code == 0 and json.loads(out)["best"] is None
    score = pair["expected_delivered_roas"]
    assert (score["difference"], score["verdict"], score["probability"]) == (0.0, "tie", 0.5)


def test_models_of_an_own_environment_are_compared_by_what_it_measures(gaelp_ray, shop):
    shop()
    for seed in (1, 2):
        config = GAELPExperimentConfig(env="shop:Shop", seed=seed, ppo={"reference": "none"})
        world = world_of(config)
        save_model(Path(f"own{seed}"), Model(untrained(world, config), config, world, {}))
    code, out, _ = gaelp_ray("compare", "own1", "own2", "--episodes", 32, "--json")
    facts = json.loads(out)
    (pair,) = facts["pairs"]
    assert (code, facts["market"]) == (0, "shop:Shop")
    assert set(pair) == {"a", "b", "expected_delivered_roas", "roas", "delivery"}
    code, out, _ = gaelp_ray("compare", "own1", "own2", "--episodes", 32, "--wandb")
    assert code == 0 and "nan" not in out
    assert "A, B: delivers less than 95% of the budget" in out
    code, out, err = gaelp_ray("compare", "own1", "own2", "--market", "airfrance-search")
    assert (code, out) == (2, "")
    assert err == "error: own1: the model flies in the environment 'shop:Shop', no market: leave --market out\n"
    assert gaelp_ray("evaluate", "own1", "--episodes", 16, "--fail-under", "optimality=0.5")[::2] == (
        1,
        "error: shop:Shop: optimality was not measured (min_optimality 0.5)\n",
    )


def verdicts(**found):
    return [
        {"a": pair[0], "b": pair[1], "expected_delivered_roas": {"verdict": verdict}} for pair, verdict in found.items()
    ]


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ({"AB": "above", "AC": "above", "BC": "tie"}, "A"),
        ({"AB": "below", "AC": "tie", "BC": "above"}, "B"),
        ({"AB": "above", "AC": "tie", "BC": "tie"}, None),
        ({"AB": "tie", "AC": "tie", "BC": "tie"}, None),
    ],
)
def test_best_model_is_above_all_others(found, best):
    assert _best(verdicts(**found), "ABC") == best


def test_models_of_different_markets_need_one_for_all(gaelp_ray):
    save("calm", load_market("airfrance-search").variant("nominal"))
    code, out, err = gaelp_ray("compare", "planner", "calm", "--episodes", 32)
    assert (code, out) == (2, "")
    assert err.startswith("error: the models were trained in different markets (planner: airfrance-search ")
    assert err.endswith("name one for all with --market\n") and len(err.splitlines()) == 1
    code, out, _ = gaelp_ray("compare", "planner", "calm", "--market", "airfrance-search@nominal", "--episodes", 32)
    assert code == 0 and out.startswith("32 fresh flights through airfrance-search@nominal, the same for all\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["planner"], "compare needs two models or more"),
        (["planner", "planner"], "planner is given twice: compare different models"),
        (["planner", "nowhere"], "no model in nowhere, and no sweep 'nowhere' in results."),
        (["planner", "pacer", "--market", "kag-social"], "planner: the model bids for the 7 channels of"),
        (["planner", "pacer", "--confidence", "1.5"], "Invalid value for '--confidence'"),
        (["planner", "pacer", "--episodes", "3"], "Invalid value for '--episodes'"),
    ],
)
def test_what_is_asked_wrongly_exits_with_2_in_one_line(gaelp_ray, words, complaint):
    code, out, err = gaelp_ray("compare", *words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {complaint}")


def test_the_run_on_the_server_has_both_tables_and_the_verdicts(gaelp_ray, wandb_server, monkeypatch):
    words = ["--wandb", "--project", "demo", "--entity", "team", "--name", "june"]
    code, _, err = gaelp_ray("compare", "planner", "pacer", "--episodes", 128, *words)
    assert code == 0
    (run,) = wandb_server.state().runs.values()
    assert err.startswith("W&B: ") and err.strip().endswith(f"/team/demo/runs/{run.name}")
    assert (run.entity, run.project, run.display_name, run.job_type, run.state) == (
        *("team", "demo", "june", "compare", "finished"),
    )
    assert run.config["models"] == {"A": "planner", "B": "pacer"} and run.config["episodes"] == 128
    assert run.summary["best"] == "A" and run.summary["expected_delivered_roas_verdict/A-B"] == "above"
    assert run.summary["roas/A"] > run.summary["roas/B"]
    tables = {name: row[name]["ncols"] for row in run.history for name in ("models", "pairs") if name in row}
    assert tables == {"models": 12, "pairs": 2 + 4 * 5}


def test_offline_it_says_how_to_upload(gaelp_ray, tmp_path):
    code, out, err = gaelp_ray("compare", "planner", "pacer", "--episodes", 32, "--wandb", "--json")
    assert code == 0 and json.loads(out)
    (run,) = offline_runs(tmp_path / "wandb")
    assert (run.job_type, run.project, run.name) == ("compare", "gaelp-rl-training", "planner vs pacer")
    assert err.startswith("W&B: offline (WANDB_MODE says so); upload it with `wandb sync wandb/offline-run-")


def test_without_wandb_there_is_no_run(gaelp_ray, wandb_server, tmp_path):
    assert gaelp_ray("compare", "planner", "pacer", "--episodes", 32)[0] == 0
    assert wandb_server.requests() == [] and not (tmp_path / "wandb").exists()
