"""`gaelp-ray evaluate`: one market or several, and bounds that a pipeline sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from judged_models import save

from gaelp_ray.agents import make_agent
from gaelp_ray.checkpoint import Model, load_model, save_model
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.market.market import PRESETS
from gaelp_ray.sweep.store.folder import SweepFolder
from gaelp_ray.training import Stream, evaluate


@pytest.fixture(autouse=True)
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save("model")


def flown(gaelp_ray, *words):
    code, out, err = gaelp_ray("evaluate", "model", "--episodes", 32, *words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_one_market_is_told_flat_and_with_intervals(gaelp_ray):
    facts = flown(gaelp_ray)
    loaded = load_model(Path("model"))
    expected = evaluate(loaded.agent, loaded.market, 32, [0, Stream.EVALUATION])
    assert (facts["market"], facts["roas"]) == ("airfrance-search", expected.metrics.roas)
    assert facts["intervals"]["roas"] == [expected.roas_interval.low, expected.roas_interval.high]
    low, high = facts["intervals"]["optimality"]
    assert 0.9 < low < facts["optimality"] < high < 1.0
    code, out, _ = gaelp_ray("evaluate", "model", "--episodes", 32)
    assert code == 0 and f"optimality                    {facts['optimality']:.1%} ({low:.1%} to {high:.1%})" in out


def test_several_markets_are_a_matrix_with_the_worst_of_them(gaelp_ray):
    text = (PRESETS / "airfrance-search.yaml").read_text(encoding="utf-8")
    Path("mine.yaml").write_text(text.replace("budget: {value: 12000", "budget: {value: 30000"), encoding="utf-8")
    names = ["airfrance-search@nominal", "mine.yaml", "airfrance-search@heterogeneity=1.5,first_price"]
    options = [word for name in names for word in ("--market", name)]
    facts = flown(gaelp_ray, *options)
    assert [one["market"] for one in facts["markets"]] == names
    assert facts["worst"] == names[2]
    agent = load_model(Path("model")).agent
    harder = load_market("airfrance-search").variant(heterogeneity=1.5, auction="first_price")
    for row, world in zip(facts["markets"][1:], (load_market("mine.yaml"), harder), strict=True):
        assert row["roas"] == evaluate(agent, world, 32, [0, Stream.EVALUATION]).metrics.roas
    code, out, _ = gaelp_ray("evaluate", "model", "--episodes", 32, *options)
    head, titles, *rows, last = out.splitlines()
    assert code == 0 and head == "32 fresh flights in each market"
    assert titles.split()[:3] == ["market", "ROAS", "95%"]
    assert [row.split()[:2] for row in rows] == [[one["market"], f"{one['roas']:.3f}"] for one in facts["markets"]]
    least = min(one["delivery"] for one in facts["markets"])
    optimality = facts["markets"][2]["optimality"]
    assert last == f"worst: {names[2]}, optimality {optimality:.1%}; every market delivers {least:.1%} or more"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--fail-under", "roas=1", "--fail-above", "cpa=1000", "--fail-under", "delivery=0.9"], []),
        (["--fail-under", "roas=99"], ["roas {roas:.2f} is below min_roas 99.0"]),
        (
            ["--fail-above", "cpa=30", "--fail-under", "optimality=0.999"],
            ["optimality {optimality:.4f} is below min_optimality 0.999", "cpa {cpa:.2f} is above max_cpa 30.0"],
        ),
    ],
)
def test_a_broken_bound_exits_with_1_and_one_line_each(gaelp_ray, words, expected):
    code, out, err = gaelp_ray("evaluate", "model", "--episodes", 32, *words, "--json")
    facts = json.loads(out)
    assert code == (1 if expected else 0)
    assert err.splitlines() == [f"error: airfrance-search: {line.format(**facts)}" for line in expected]


def test_the_value_decides_not_an_end_of_the_interval(gaelp_ray):
    facts = flown(gaelp_ray)
    (low, high), roas = facts["intervals"]["roas"], facts["roas"]
    for bound, code in ((low, 0), (roas - 1e-9, 0), (roas + 1e-9, 1), (high, 1)):
        assert gaelp_ray("evaluate", "model", "--episodes", 32, "--fail-under", f"roas={bound!r}")[0] == code


def test_only_the_market_beyond_the_bound_is_named(gaelp_ray):
    words = ["--market", "airfrance-search@nominal", "--market", "airfrance-search", "--fail-under", "optimality=0.975"]
    code, _, err = gaelp_ray("evaluate", "model", "--episodes", 64, *words)
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith("error: airfrance-search: optimality 0.9")


def finished(winner: bool = True) -> SweepFolder:
    folder = SweepFolder.new(Path("results"), "trip")
    folder.path.mkdir(parents=True)
    folder.write_start({"name": "trip"}, {})
    if winner:
        save(str(folder.best))
    record = {"winner": {"trial": "a"} if winner else None, "reason": "none completed", "leaderboard": []}
    folder.write_end(record, [{"rank": 1}])
    return folder


@pytest.mark.parametrize("named", ["trip", "results/trip", "results/trip/best"])
def test_a_sweep_stands_for_its_best_model(gaelp_ray, named):
    finished()
    code, out, _ = gaelp_ray("evaluate", named, "--episodes", 16)
    assert code == 0 and out.startswith("16 fresh flights through airfrance-search\n")


def test_a_sweep_in_another_storage_is_found_there(gaelp_ray):
    finished()
    Path("results").rename("elsewhere")
    assert gaelp_ray("evaluate", "trip", "--episodes", 16)[0] == 2
    assert gaelp_ray("evaluate", "trip", "--storage", "elsewhere", "--episodes", 16)[0] == 0


def test_a_sweep_without_a_winner_or_an_end_has_no_model(gaelp_ray):
    folder = finished(winner=False)
    code, _, err = gaelp_ray("evaluate", "trip")
    assert (code, err) == (2, "error: the sweep 'trip' has no winner: none completed\n")
    (folder.path / "selection.json").unlink()
    code, _, err = gaelp_ray("evaluate", "trip")
    assert code == 2 and "the sweep 'trip' has not finished" in err


def test_folders_beside_and_without_a_sweep(gaelp_ray):
    save("copied/best")
    assert gaelp_ray("evaluate", "copied", "--episodes", 16)[0] == 0
    Path("empty").mkdir()
    code, _, err = gaelp_ray("evaluate", "empty")
    assert code == 2 and err.startswith("error: no model in empty: model.json is missing")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--fail-under", "cpa=3"], "--fail-under cpa=3: of cpa, less is better: write --fail-above cpa=3"),
        (["--fail-above", "roas=3"], "--fail-above roas=3: of roas, more is better: write --fail-under roas=3"),
        (["--fail-under", "ros=1"], "--fail-under ros=1: unknown metric 'ros'. Did you mean 'roas'?"),
        (["--fail-under", "revenue=1"], "--fail-under revenue=1: unknown metric 'revenue'. Known: "),
        (["--fail-under", "roas"], "--fail-under roas: '' is no number: write roas=VALUE"),
        (["--fail-under", "roas=nan"], "--fail-under roas=nan: 'nan' is no number"),
        (["--market", "mars"], "unknown market 'mars'. Known: airfrance-search"),
        (["--market", "airfrance-search@easy"], "unknown 'easy' after the @"),
        (["--market", "kag-social"], "the model bids for the 7 channels of 'airfrance-search'"),
        (["--market", "airfrance-search", "--market", "airfrance-search"], "--market airfrance-search is given twice"),
    ],
)
def test_what_is_asked_wrongly_exits_with_2_in_one_line(gaelp_ray, words, complaint):
    code, out, err = gaelp_ray("evaluate", "model", *words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {complaint}") or complaint in line


def test_model_whose_weights_are_nan_is_refused_in_one_line(gaelp_ray, tmp_path):
    config = GAELPExperimentConfig(agent_type="PPO", ppo={"hidden_size": 8})
    world = load_market("airfrance-search")
    agent = make_agent(config, world.landscape)
    state = {name: np.array(array) for name, array in agent.state_dict().items()}
    state["parameter_2"][...] = np.nan
    agent.load_state_dict(state)
    save_model(tmp_path / "diverged", Model(agent, config, world, {}))
    for words in (("evaluate", "diverged"), ("compare", "model", "diverged"), ("best", "diverged")):
        code, out, err = gaelp_ray(*words)
        assert (code, out) == (2, "")
        assert err.startswith("error: diverged/model.npz: parameter_2: ") and err.count("\n") == 1
        assert "NaN or infinite: the training diverged" in err
