"""`--set key=value` reaches any key of a sweep file, and says so when it is wrong."""

from pathlib import Path

import pytest

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.document import Document, read_document
from gaelp_ray.sweep.format.load import parse
from gaelp_ray.sweep.format.overrides import overridden
from gaelp_ray.sweep.planning.plan import plan_sweep

TEXT = """\
method: random
run_cap: 3
parameters:
  learning_rate: &rate {min: 0.001, max: 0.01}
  ppo.clip_range: {min: 0.1, max: 0.2}
  ppo:
    parameters:
      gae_lambda: {values: [0.9, 0.95]}
  dual.drift_tracking: *rate
trial: {num_episodes: 64}
"""


@pytest.fixture
def path(tmp_path) -> Path:
    (tmp_path / "trip.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path / "trip.yaml"


@pytest.fixture
def document(path) -> Document:
    return read_document(path)


@pytest.mark.parametrize(
    ("setting", "where", "value"),
    [
        ("run_cap=5", ["run_cap"], 5),
        ("name=my sweep", ["name"], "my sweep"),
        ("parameters.learning_rate.max=1e-3", ["parameters", "learning_rate", "max"], 0.001),
        ("parameters.ppo.clip_range.max=0.3", ["parameters", "ppo.clip_range", "max"], 0.3),
        ("parameters.ppo.gae_lambda.values.1=1", ["parameters", "ppo", "parameters", "gae_lambda", "values", 1], 1),
        (
            "parameters.ppo.parameters.gae_lambda={value: 1}",
            ["parameters", "ppo", "parameters", "gae_lambda"],
            {"value": 1},
        ),
        ("parameters.batch_size.value=8", ["parameters", "batch_size", "value"], 8),
        ("parameters.cem.population.values=[4, 8]", ["parameters", "cem.population", "values"], [4, 8]),
        ("parameters.learning_rate={value: 0.1}", ["parameters", "learning_rate"], {"value": 0.1}),
        ("trial.ppo.epochs=2", ["trial", "ppo", "epochs"], 2),
        ("select.constraints.max_cpa=200", ["select", "constraints", "max_cpa"], 200),
        ("trial.market=a=b", ["trial", "market"], "a=b"),
        ("description=", ["description"], None),
    ],
)
def test_a_setting_is_in_the_data(document, setting, where, value):
    data = overridden(document, [setting]).data
    for key in where:
        data = data[key]
    assert (data, type(data)) == (value, type(value))


def test_nothing_else_changes_not_even_what_an_anchor_shares(document):
    before = read_document(Path(document.where)).data
    after = overridden(document, ["parameters.learning_rate.max=1"]).data
    assert after["parameters"]["dual.drift_tracking"]["max"] == 0.01
    assert {**after, "parameters": 0} == {**before, "parameters": 0}
    assert document.data == before


def test_the_last_of_two_settings_counts(document):
    assert overridden(document, ["run_cap=5", "run_cap=7"]).data["run_cap"] == 7


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("run_cap", "write key=value, such as --set parameters.learning_rate.max=1e-3"),
        ("=5", "write key=value"),
        ("a..b=5", "write key=value"),
        ("run_cap.x=5", "run_cap is 3, which has no keys"),
        ("parameters.ppo.gae_lambda.values.2=5", "'2' is no item of a list of 2: items count from 0"),
        ("parameters.ppo.gae_lambda.values.x=5", "'x' is no item of a list of 2"),
        ("parameters.batch_size=5", "say which key of the parameter, such as parameters.batch_size.value"),
    ],
)
def test_a_setting_that_leads_nowhere_is_refused_in_one_line(document, setting, complaint):
    with pytest.raises(SweepFileError) as refused:
        overridden(document, [setting])
    (problem,) = refused.value.problems
    assert problem.startswith(f"--set {setting}: {complaint}")


def test_every_setting_that_leads_nowhere_is_named(document):
    with pytest.raises(SweepFileError) as refused:
        overridden(document, ["run_cap", "seed=1", "run_cap.x=5"])
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("paramters.x=1", "paramters: unknown key. Did you mean 'parameters'?"),
        ("run_cap=0", "run_cap: 0 should be greater than or equal to 1"),
        ("select.topk=3", "select.topk: unknown key. Did you mean 'top_k'?"),
        ("parameters.learning_rate.max=low", "parameters.learning_rate.max: 'low' is text, not a number"),
        ("parameters.batch_siz.value=5", "parameters.batch_siz: unknown parameter. Did you mean 'batch_size'?"),
        ("trial.agent_type=PP0", "trial.agent_type: unknown agent 'PP0'. "),
        ("parameters.learning_rate.max=2", "parameters.learning_rate.max: 2.0 should be less than or equal to 1"),
        ("trial={batch_size: 0}", "trial.batch_size: 0 should be greater than or equal to 1"),
    ],
)
def test_what_the_format_says_against_a_setting_names_the_setting(path, setting, complaint):
    with pytest.raises(SweepFileError) as refused:
        plan_sweep(path, settings=[setting])
    (problem,) = refused.value.problems
    assert problem.startswith(f"--set {setting}: {complaint}")


def test_problems_of_the_file_keep_their_place_beside_those_of_settings(document):
    changed = overridden(document, ["trial.x.y=1", "parameters.learning_rate.min=5", "seed=-1"])
    parsed = parse(changed)
    lines = parsed.document.complain(parsed.problems).problems
    assert [line.split(": ")[0] for line in lines] == ["--set seed=-1", f"{document.where}:4:3"]


def test_setting_replaces_a_variable_that_is_not_set(path, monkeypatch):
    monkeypatch.delenv("GAELP_NOT_SET", raising=False)
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}seed: ${{GAELP_NOT_SET}}\nproject: ${{GAELP_NOT_SET}}\n", encoding="utf-8")
    with pytest.raises(SweepFileError, match="project: the environment variable GAELP_NOT_SET") as refused:
        plan_sweep(path, settings=["seed=3"])
    assert len(refused.value.problems) == 1
    assert plan_sweep(path, settings=["seed=3", "project=mine"]).spec.seed == 3


def test_settings_reach_the_trials(path):
    planned = plan_sweep(path, settings=["run_cap=1", "trial.num_episodes=128", "parameters.ppo.clip_range.max=0.11"])
    assert [trial.config.num_episodes for trial in planned.trials] == [128, 128]
    assert planned.trials[1].config.ppo.clip_range <= 0.11
