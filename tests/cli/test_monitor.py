"""`gaelp-ray monitor`: 0 while nothing speaks against a model, 1 when its ROAS has fallen, 2 for what is wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from judged_models import CURVE, EVALUATION, save, write_budgets, write_log

from gaelp_ray.evidence.decline import Card, flights_to_notice, watch
from gaelp_ray.evidence.observed import read_flights
from gaelp_ray.tracking.offline import offline_runs


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("model")
    write_log("same.jsonl", 10.2)
    write_log("fallen.jsonl", 8.0)


def test_a_model_that_does_as_before_exits_with_0(gaelp_ray):
    code, out, err = gaelp_ray("monitor", "model", "--log", "same.jsonl")
    assert (code, err) == (0, "")
    observed, chosen, budgets, delivery, verdict, rate = out.splitlines()
    assert observed.startswith("observed: 300 flights, ROAS 10.") and "right for all looks together" in observed
    assert chosen == "chosen with: ROAS 10.200 (95%: 9.900 to 10.600) of 512 fresh flights"
    assert delivery.startswith("delivery: 9") and delivery.endswith("chosen with 99.0%")
    assert budgets.startswith(
        "budgets: not controlled for: model.json has no ROAS by budget, and budgets other than the"
    )
    due = flights_to_notice(watch(read_flights(Path("same.jsonl")), Card.of({"evaluation": EVALUATION}), 0.01), 0.2)
    assert verdict == f"no sign of a loss (a loss of 20% is noticed after about {due} flights)"
    assert rate.startswith("false alarms: at most 1.0% if the true ROAS is 9.900 or more; at most 3.5% if nothing has")


def test_a_fallen_model_exits_with_1_and_says_when_it_was_noticed(gaelp_ray):
    code, out, err = gaelp_ray("monitor", "model", "--log", "fallen.jsonl", "--json")
    facts = json.loads(out)
    found = watch(read_flights(Path("fallen.jsonl")), Card.of({"evaluation": EVALUATION}), 0.01)
    assert (code, err) == (1, "")
    assert (facts["degraded"], facts["noticed_after"], facts["flights"]) == (True, found.noticed_after, 300)
    assert (facts["roas"], facts["roas_low"], facts["roas_high"]) == (
        *(found.roas[-1], found.interval.low, found.interval.high),
    )
    assert facts["false_alarm_if_unchanged"] == pytest.approx(0.035)
    assert (facts["budget_control"], facts["flights_at_their_budget"], facts["flights_left_out"]) == ("no_curve", 0, 0)
    assert (facts["expected_roas"], facts["expected_roas_low"]) == (pytest.approx(10.2), pytest.approx(9.9))
    code, out, _ = gaelp_ray("monitor", "model", "--log", "fallen.jsonl")
    assert code == 1 and f"\ndegraded: noticed after {found.noticed_after} flights, when ROAS was " in out


def test_looking_hourly_alarms_at_the_same_flight(gaelp_ray):
    lines = Path("fallen.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    noticed = json.loads(gaelp_ray("monitor", "model", "--log", "fallen.jsonl", "--json")[1])["noticed_after"]
    for flights, expected in ((noticed - 1, 0), (noticed, 1), (noticed + 50, 1)):
        Path("hour.jsonl").write_text("".join(lines[:flights]), encoding="utf-8")
        code, out, _ = gaelp_ray("monitor", "model", "--log", "hour.jsonl", "--json")
        assert (code, json.loads(out)["noticed_after"]) == (expected, noticed if expected else None)


def test_false_alarm_rate_is_the_one_asked_for(gaelp_ray):
    rates = {}
    for rate in (0.001, 0.2):
        _, out, _ = gaelp_ray("monitor", "model", "--log", "fallen.jsonl", "--false-alarm", rate, "--json")
        rates[rate] = json.loads(out)["noticed_after"]
        assert json.loads(out)["false_alarm"] == rate
    assert rates[0.001] > rates[0.2]


def test_damaged_lines_are_told_by_number_and_the_others_count(gaelp_ray):
    text = Path("fallen.jsonl").read_text(encoding="utf-8").splitlines()
    for at in (4, 9, 20, 21, 22, 23, 24):
        text.insert(at, '{"cost": 1')
    Path("torn.jsonl").write_text("\n".join(text), encoding="utf-8")
    code, out, err = gaelp_ray("monitor", "model", "--log", "torn.jsonl", "--json")
    assert code == 1 and json.loads(out)["flights"] == 300
    assert [line["line"] for line in json.loads(out)["damaged_lines"]] == [5, 10, 21, 22, 23, 24, 25]
    assert err.splitlines() == [
        *(f"torn.jsonl:{number}: not valid JSON: left out" for number in (5, 10, 21, 22, 23)),
        "torn.jsonl: 2 more damaged lines were left out",
    ]


def test_few_flights_without_budgets_are_no_sign(gaelp_ray):
    write_log("new.jsonl", 2.0, flights=1, budget=None)
    code, out, _ = gaelp_ray("monitor", "model", "--log", "new.jsonl")
    assert code == 0 and "observed: 1 flight, ROAS" in out and "(no interval before 8 flights)" in out
    assert "delivery" not in out
    Path("idle.jsonl").write_text('{"cost": 0, "revenue": 0}\n' * 20, encoding="utf-8")
    code, out, _ = gaelp_ray("monitor", "model", "--log", "idle.jsonl", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["roas"] is facts["roas_low"] is facts["delivery"] is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["model"], "Missing option '--log'"),
        (["model", "--log", "none.jsonl"], "cannot read the log none.jsonl: No such file or directory"),
        (["model", "--log", "empty.jsonl"], "empty.jsonl has no flight: write one JSON object per line"),
        (["model", "--log", "same.jsonl", "--false-alarm", "0"], "--false-alarm 0: write a share above 0"),
        (["model", "--log", "same.jsonl", "--false-alarm", "0.5"], "--false-alarm 0.5: write a share above 0"),
        (["nowhere", "--log", "same.jsonl"], "no model in nowhere, and no sweep 'nowhere' in results."),
        (["fresh", "--log", "same.jsonl"], "fresh: its model.json has no interval of ROAS to compare with"),
    ],
)
def test_what_is_asked_wrongly_exits_with_2_in_one_line(gaelp_ray, words, complaint):
    Path("empty.jsonl").touch()
    save("fresh", about={"episodes": 50})
    code, out, err = gaelp_ray("monitor", *words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {complaint}")


def test_budgets_of_the_log_are_controlled_for(gaelp_ray):
    save("curved", about={"evaluation": EVALUATION, "roas_by_budget": CURVE})
    write_budgets("larger.jsonl", (150.0, 220.0))
    write_budgets("smaller.jsonl", (56.0, 75.0), left=0.8)
    code, out, err = gaelp_ray("monitor", "curved", "--log", "larger.jsonl")
    expected = out.splitlines()[2]
    assert (code, err) == (0, "") and expected.startswith("expected at these budgets: ROAS 7.9")
    assert ", at least 7." in expected and expected.endswith("(elasticity -0.58)")
    code, out, _ = gaelp_ray("monitor", "curved", "--log", "smaller.jsonl", "--json")
    facts = json.loads(out)
    assert code == 1 and facts["roas"] > EVALUATION["roas_low"]  # the pooled ROAS would mask the loss
    assert facts["roas_high"] < facts["expected_roas_low"] < facts["expected_roas"]
    assert (facts["budget_control"], facts["flights_at_their_budget"], facts["card"]["curve"]) == ("all", 300, CURVE)
    for log, wrong in (("larger.jsonl", 1), ("smaller.jsonl", 0)):  # an older model
        assert gaelp_ray("monitor", "model", "--log", log)[0] == wrong


def test_budgets_that_cannot_be_controlled_for_are_told_in_one_line(gaelp_ray):
    save("curved", about={"evaluation": EVALUATION, "roas_by_budget": CURVE})
    write_log("unbudgeted.jsonl", 10.2, budget=None)
    code, out, err = gaelp_ray("monitor", "curved", "--log", "unbudgeted.jsonl")
    assert (code, err) == (0, "")
    assert out.splitlines()[2] == (
        "budgets: not controlled for: the log has none, and budgets other than the measured ones can raise a false "
        "alarm or hide a loss: log each flight's budget"
    )
    write_budgets("mixed.jsonl", (60.0, 200.0), missing=3)
    code, out, err = gaelp_ray("monitor", "curved", "--log", "mixed.jsonl")
    assert (code, err) == (0, "") and "at most 6.0% if nothing has changed, as 5.0% of such cards" in out
    assert out.splitlines()[2].endswith("; 100 of 300 flights have no budget: compared with the card's pooled ROAS")
    facts = json.loads(gaelp_ray("monitor", "curved", "--log", "mixed.jsonl", "--json")[1])
    assert (facts["budget_control"], facts["flights_at_their_budget"]) == ("some", 200)


def test_flights_with_budgets_outside_the_measured_range_are_left_out(gaelp_ray):
    save("curved", about={"evaluation": EVALUATION, "roas_by_budget": CURVE})
    write_budgets("wide.jsonl", (60.0, 400.0))
    budgets = [json.loads(line)["budget"] for line in Path("wide.jsonl").read_text(encoding="utf-8").splitlines()]
    outside = sum(budget > 221.5 * (221.5 / 54.6) ** 0.05 for budget in budgets)
    code, out, err = gaelp_ray("monitor", "curved", "--log", "wide.jsonl", "--json")
    assert err == f"wide.jsonl: budget: {outside} of 300 flights are outside the measured 54.6 to 221.5: left out\n"
    assert code == 0 and (json.loads(out)["flights"], json.loads(out)["flights_left_out"]) == (300 - outside, outside)
    write_budgets("beyond.jsonl", (300.0, 400.0))
    assert gaelp_ray("monitor", "curved", "--log", "beyond.jsonl") == (
        2,
        "",
        "error: beyond.jsonl: budget: every flight is outside the measured 54.6 to 221.5: run a sweep in a market with "
        "these budgets\n",
    )


def test_damaged_roas_by_budget_is_refused_in_one_line(gaelp_ray):
    save("torn", about={"evaluation": EVALUATION, "roas_by_budget": CURVE | {"roas": math.inf}})
    code, out, err = gaelp_ray("monitor", "torn", "--log", "same.jsonl")
    assert (code, out) == (2, "")
    assert err == "error: torn: model.json: roas_by_budget: damaged: fetch the model again\n"


def look(gaelp_ray, log: str = "log.jsonl") -> int:
    return gaelp_ray("monitor", "model", "--log", log, "--wandb", "--project", "demo")[0]


def test_the_run_goes_on_and_there_is_one_alert_of_it(gaelp_ray, wandb_server):
    lines = Path("fallen.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    codes = []
    for flights in (20, 40, 300, 300):
        Path("log.jsonl").write_text("".join(lines[:flights]), encoding="utf-8")
        codes.append(look(gaelp_ray))
    assert codes[0] == 0 and codes[2:] == [1, 1]
    (run,) = wandb_server.state().runs.values()
    assert (run.job_type, run.display_name, run.state) == ("monitor", "monitor model", "finished")
    (alert,) = run.alerts
    assert (alert.title, alert.level) == ("ROAS of model has fallen", "WARN")
    assert alert.text.startswith("noticed after ") and "false alarms 1.0% at most" in alert.text
    assert [row["_step"] for row in run.history] == list(range(1, 301))  # every look once
    assert (run.summary["degraded"], run.summary["flights"], run.summary["alerted"]) == (True, 300, True)
    assert run.config["model"] == "model" and run.config["card"]["roas"] == 10.2
    assert run.summary["budget_control"] == "no_curve" and run.summary["expected_roas"] == pytest.approx(10.2)


def test_a_model_that_does_as_before_raises_no_alert(gaelp_ray, wandb_server):
    assert look(gaelp_ray, "same.jsonl") == 0
    (run,) = wandb_server.state().runs.values()
    assert run.alerts == [] and run.summary["alerted"] is False
    assert run.history[-1]["observed/low"] < run.history[-1]["observed/roas"] < run.history[-1]["observed/high"]


def test_another_log_is_another_run(gaelp_ray, wandb_server):
    Path("copy.jsonl").write_bytes(Path("same.jsonl").read_bytes())  # elsewhere
    look(gaelp_ray, "same.jsonl"), look(gaelp_ray, "copy.jsonl")
    write_log("same.jsonl", 9.0)  # begun anew
    look(gaelp_ray, "same.jsonl")
    assert len(wandb_server.state().runs) == 3


def test_a_server_that_is_away_changes_nothing_of_the_answer(gaelp_ray, wandb_server, tmp_path):
    wandb_server.down()
    code, out, err = gaelp_ray("monitor", "model", "--log", "fallen.jsonl", "--wandb")
    assert code == 1 and "degraded: noticed after" in out
    assert "upload it with `wandb sync wandb/offline-run-" in err
    (run,) = offline_runs(tmp_path / "wandb")
    assert run.summary["degraded"] is True


def test_offline_there_is_one_run_however_often_and_an_uploaded_alert_is_not_repeated(gaelp_ray, tmp_path):
    for _ in range(2):
        assert look(gaelp_ray, "fallen.jsonl") == 1
    (directory,) = (tmp_path / "wandb").glob("offline-run-*")
    assert b"ROAS of model has fallen" in next(directory.glob("*.wandb")).read_bytes()
    next(directory.glob("*.wandb")).with_suffix(".wandb.synced").touch()
    for _ in range(2):
        assert look(gaelp_ray, "fallen.jsonl") == 1
    uploaded, new = sorted((tmp_path / "wandb").glob("offline-run-*"), key=lambda found: found != directory)
    assert uploaded == directory
    assert b"ROAS of model has fallen" not in next(new.glob("*.wandb")).read_bytes()


def test_a_wrong_variable_of_wandb_is_said_and_the_answer_stands(gaelp_ray, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_BASE_URL", "nonsense")
    code, out, err = gaelp_ray("monitor", "model", "--log", "fallen.jsonl", "--wandb")
    assert code == 1 and "degraded" in out
    assert err.startswith("W&B: no run (a WANDB_ variable in the environment is wrong")
