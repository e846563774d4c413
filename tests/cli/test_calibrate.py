"""`gaelp-ray calibrate` as a person types it: what is printed, what is written, and what is refused."""

import json

import pytest
from synthetic_exports import Export

from gaelp_ray.agents import make_agent
from gaelp_ray.calibration import validation
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.training import evaluate

ROW = "{name},{impressions},{clicks},${cost:.2f},{sold}\n"
SWEEP = """\
method: random
run_cap: 1
metric: {name: delivered_roas, goal: maximize}
parameters:
  learning_rate: {min: 0.001, max: 0.01}
trial: {agent_type: PPO, market: my_market.yaml}
tracking: {mode: disabled}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory with one table, and a quick validation."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(validation, "SPLITS", 2)
    monkeypatch.setattr(validation, "FLOOR_SPLITS", 8)
    rows = "".join(
        ROW.format(name=c, impressions=1000 + 37 * i, clicks=40 + i % 7, cost=50 + 3 * (i % 5), sold=2 + i % 3)
        for c in ("brand", "generic", "rivals")
        for i in range(20)
    )
    (tmp_path / "campaigns.csv").write_text(f"Theme,Imps,Clicks,Spend,Sales\n{rows}Total,1,1,$1.00,1\n")
    return tmp_path


OPTIONS = ("--columns", "impressions=Imps,conversions=Sales", "--segment", "Theme", "--order-value", "80")
COMMAND = ("calibrate", "campaigns.csv", "-o", "my_market.yaml", *OPTIONS)


def test_prints_every_error_beside_its_floor_and_writes_the_market(gaelp_ray, here):
    code, shown, said = gaelp_ray(*COMMAND)
    assert (code, said) == (0, "")
    lines = shown.splitlines()
    assert "read 60 rows of campaigns.csv" in lines
    assert "skipped 1 rows that are totals or belong to no segment" in lines
    assert "3 channels, historical ROAS " in shown
    head = next(line for line in lines if "noise floor" in line)
    assert [word in head for word in ("error", "simulated", "ratio", "90 % interval covers")] == [True] * 4
    for title in ("CTR", "CPC", "conversion rate", "ROAS"):
        row = next(line for line in lines if line.strip().startswith(title) and "MAE" in line)
        simulated, floor, ratio, covered = row.split("MAE")[1].split()
        assert float(simulated) / float(floor) == pytest.approx(float(ratio), abs=0.01)
        assert covered.endswith("%")
    assert "price response: not tested (no column of bids)" in lines
    assert "price_response: {not_tested: no column of bids}" in here.joinpath("my_market.yaml").read_text()
    assert lines[-1] == "market file: my_market.yaml"


def test_the_market_can_be_listed_planned_and_flown(gaelp_ray, here):
    assert gaelp_ray(*COMMAND)[0] == 0
    code, shown, _ = gaelp_ray("markets", "my_market.yaml")
    assert code == 0
    assert shown.startswith("my_market: calibrated from campaigns.csv by Theme")
    (here / "s.yaml").write_text(SWEEP)
    code, shown, said = gaelp_ray("plan", "s.yaml")
    assert (code, said) == (0, "")
    assert "market my_market" in shown
    market = load_market("my_market.yaml")
    flown = evaluate(make_agent(GAELPExperimentConfig(agent_type="BayesDual"), market.landscape), market, 16, [0])
    assert 0.5 < flown.metrics.optimality <= 1.0


def test_price_response_is_printed_per_channel_where_bids_vary(gaelp_ray, here):
    Export(days=80).write(here / "bids.csv")
    code, shown, _ = gaelp_ray("calibrate", "bids.csv", "-o", "bids.yaml")
    assert code == 0
    lines = shown.splitlines()
    response = load_market("bids.yaml").validation.price_response
    for title, error in (("clicks, high / low bids", response.clicks), ("CPC, high / low bids", response.cpc)):
        value, floor, ratio, covered = next(line for line in lines if title in line).split("MAE of log")[1].split()
        assert float(value) / float(floor) == pytest.approx(float(ratio), abs=0.01)
        assert covered == f"{error.coverage_90:.0%}"
    start = next(n for n, line in enumerate(lines) if line.startswith("price response: rows of high bids"))
    for row, line in zip(response.channels, lines[start + 2 : start + 6], strict=True):
        assert line.split()[:4] == [*row.channel.split(), f"x{row.bids:.2f}", f"x{row.clicks:.2f}"]
    assert "not tested" not in shown
    listed = gaelp_ray("markets", "bids.yaml")[1]
    assert f"; price response: clicks {response.clicks.mae.ratio:.2f}, CPC {response.cpc.mae.ratio:.2f}" in listed
    assert "; price response: not tested" not in listed


def test_budget_is_printed_with_its_reason_and_a_warning_where_it_cannot_be_spent(gaelp_ray):
    shown = gaelp_ray(*COMMAND)[1]
    line = next(line for line in shown.splitlines() if line.startswith("budget of a flight: "))
    assert "that the market can spend per flight at the highest bids" in line
    assert line.endswith("is what the channels spent per week of the period (--budget sets another)")
    code, shown, _ = gaelp_ray(*COMMAND, "--overwrite", "--budget", "100000")
    assert code == 0
    assert "warning: --budget 100000: too large: " in shown
    assert load_market("my_market.yaml").flight.budget.value == 100_000


def test_json_holds_the_validation_with_its_floors(gaelp_ray):
    code, shown, _ = gaelp_ray(*COMMAND, "--json", "--name", "mine", "--currency", "USD", "--seed", "3")
    facts = json.loads(shown)
    assert code == 0
    assert facts["market"] == "my_market.yaml"
    assert facts["facts"]["name"] == "mine"
    assert facts["facts"]["currency"] == "USD"
    assert facts["validation"]["seed"] == 3
    for metric in ("ctr", "cpc", "conversion_rate", "roas"):
        assert set(facts["validation"][metric]["mae"]) == {"value", "floor", "ratio"}


def test_an_existing_file_is_replaced_only_when_asked(gaelp_ray, here):
    (here / "my_market.yaml").write_text("precious")
    code, _, said = gaelp_ray(*COMMAND)
    assert code == 2
    assert said == ("error: my_market.yaml exists already: give another file with -o (replace it with --overwrite)\n")
    assert (here / "my_market.yaml").read_text() == "precious"
    assert gaelp_ray(*COMMAND, "--overwrite")[0] == 0
    assert load_market("my_market.yaml").currency == "$"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("campaigns.csv", "-o", "m.txt"), "error: m.txt: a market file ends in .yaml"),
        (("campaigns.csv", "-o", "nowhere/m.yaml"), "error: nowhere is no folder: make it first"),
        (("none.csv", "-o", "m.yaml"), "error: cannot read none.csv: No such file or directory"),
        (("campaigns.csv", "-o", "m.yaml"), "error: campaigns.csv, row 1: no column for impressions, conversions."),
        (("campaigns.csv", "-o", "m.yaml", "--columns", "imps=Imps"), "error: --columns 'imps=Imps': "),
        (("campaigns.csv", "-o", "m.yaml", *OPTIONS[:4]), "error: campaigns.csv: no column of revenue: "),
        (("campaigns.csv", "-o", "m.yaml", *OPTIONS, "--hours", "x"), "error: --hours 'x': Known: alimama, avito"),
        (("campaigns.csv", "-o", "m.yaml", "--auction", "third"), "error: Invalid value for '--auction'"),
        (("campaigns.csv",), "error: Missing option "),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(gaelp_ray, here, words, said):
    code, shown, complaint = gaelp_ray("calibrate", *words)
    assert (code, shown) == (2, "")
    assert complaint.startswith(said)
    assert complaint.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == ["campaigns.csv"]


def test_a_disk_that_refuses_leaves_nothing_half_written(gaelp_ray, here, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    code, _, said = gaelp_ray(*COMMAND)
    assert (code, said) == (2, "error: cannot write my_market.yaml: No space left on device\n")
    assert sorted(path.name for path in here.iterdir()) == ["campaigns.csv"]
