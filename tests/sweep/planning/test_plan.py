"""A plan is a validated sweep: names are fields, every value can be flown, and nothing starts."""

from pathlib import Path

import pytest
import yaml

from gaelp_ray.config import FIELD_NAMES, GAELPExperimentConfig
from gaelp_ray.errors import SweepFileError
from gaelp_ray.market import load_market
from gaelp_ray.market.market import PRESETS
from gaelp_ray.records import METRIC_NAMES, SAFETY
from gaelp_ray.sweep.planning.plan import EITHER_WAY, LOWER_IS_BETTER, SweepPlan, plan_sweep

SHIPPED = sorted((Path(__file__).parents[3] / "sweeps").glob("*.yaml"))
HEAD = "method: random\nrun_cap: 3\n"
BASE = HEAD + "parameters:\n  learning_rate: {min: 0.001, max: 0.01}\n"


@pytest.fixture
def plan(tmp_path):
    """Plans a sweep file with the given text."""

    def plan(text: str, **overrides) -> SweepPlan:
        path = tmp_path / "trip.yaml"
        path.write_text(text, encoding="utf-8")
        return plan_sweep(path, overrides)

    return plan


@pytest.fixture
def refusal(plan, tmp_path):
    """What plan_sweep() says against a text, from the line number on."""

    def refusal(text: str, **overrides) -> list[str]:
        with pytest.raises(SweepFileError) as refused:
            plan(text, **overrides)
        return [problem.removeprefix(f"{tmp_path / 'trip.yaml'}:") for problem in refused.value.problems]

    return refusal


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_sweep_plans(path):
    planned = plan_sweep(path)
    names = [trial.name for trial in planned.trials]
    assert len(names) == len(set(names)) > 1
    assert all(trial.env_steps > 0 for trial in planned.trials)
    assert planned.spec.name == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_sweep_as_it_ran_plans_the_same_trials_again(path, tmp_path):
    planned = plan_sweep(path)
    again = tmp_path / "sweep.yaml"
    again.write_text(yaml.safe_dump(planned.as_file()), encoding="utf-8")
    assert plan_sweep(again).trials == planned.trials


def test_sampled_values_reach_their_fields_dotted_ones_included(plan):
    (trial,) = plan(
        "method: grid\nparameters: {ppo.clip_range: {value: 0.3}, batch_size: {values: [16]}}\n"
        "trial: {ppo: {epochs: 2}, dual.shade: 0.1, num_episodes: 40}\nselect: {include_default: false}\n"
    ).trials
    assert trial.params == {"batch_size": 16, "ppo.clip_range": 0.3}
    assert trial.config == GAELPExperimentConfig(
        batch_size=16, num_episodes=40, ppo={"clip_range": 0.3, "epochs": 2}, dual={"shade": 0.1}
    )
    assert trial.env_steps == 3 * 16 * 168


def test_control_arm_comes_first_with_the_fixed_fields_only(plan):
    trials = plan(BASE + "trial: {agent_type: BayesDual, num_episodes: 64}\n").trials
    assert [trial.name for trial in trials] == ["trip-default", "trip-00", "trip-01", "trip-02"]
    assert [trial.is_default for trial in trials] == [True, False, False, False]
    assert trials[0].params == {}
    assert trials[0].config == GAELPExperimentConfig(agent_type="BayesDual", num_episodes=64)


def test_control_arm_can_be_left_out(plan):
    trials = plan(BASE + "select: {include_default: false}\n").trials
    assert [trial.name for trial in trials] == ["trip-00", "trip-01", "trip-02"]


def test_names_of_many_trials_sort_as_they_run(plan):
    names = [trial.name for trial in plan(BASE.replace("run_cap: 3", "run_cap: 101")).trials[1:]]
    assert names[0] == "trip-000"
    assert sorted(names) == names


def test_every_trial_trains_on_the_flights_of_the_sweeps_seed(plan):
    assert {trial.config.seed for trial in plan(BASE + "seed: 5\n").trials} == {5}


def test_overrides_replace_name_and_storage(plan):
    planned = plan(BASE + "name: mine\nstorage: ./here\n", name="other", storage="/elsewhere")
    assert (planned.spec.name, planned.spec.storage) == ("other", "/elsewhere")
    assert planned.trials[0].name == "other-default"


def test_keys_of_wandbs_launcher_are_reported_as_unused(plan):
    assert plan(BASE + "program: train.py\ncommand: [python]\n").unused == ("command", "program")


def test_market_is_that_of_the_fixed_fields(plan):
    planned = plan(HEAD + "parameters: {heterogeneity: {values: [0.1, 0.9]}}\ntrial: {departures: nominal}\n")
    assert planned.market.hash == load_market("airfrance-search").variant("nominal").hash


def test_market_file_beside_the_person_is_found_by_workers_elsewhere(plan, tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text((PRESETS / "airfrance-search.yaml").read_text(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    planned = plan(BASE + "trial: {market: mine.yaml}\n")
    assert {trial.config.market for trial in planned.trials} == {str(tmp_path / "mine.yaml")}


@pytest.mark.parametrize("goal", ["", ", goal: minimize"])
@pytest.mark.parametrize("name", sorted({*METRIC_NAMES} - LOWER_IS_BETTER - EITHER_WAY))
def test_metric_that_would_select_the_worst_is_refused_with_the_remedy(refusal, name, goal):
    (problem,) = refusal(f"{BASE}metric: {{name: {name}{goal}}}\n")
    assert problem.startswith("5:")
    assert f"select the worst {name}. Write `goal: maximize`" in problem


@pytest.mark.parametrize("name", sorted(LOWER_IS_BETTER))
def test_a_price_is_not_maximised(refusal, name):
    (problem,) = refusal(f"{BASE}metric: {{name: {name}, goal: maximize}}\n")
    assert f"select the worst {name}. Write `goal: minimize`" in problem


@pytest.mark.parametrize("name", sorted({*METRIC_NAMES} - LOWER_IS_BETTER))
def test_every_return_may_be_maximised(plan, name):
    assert plan(f"{BASE}metric: {{name: {name}, goal: maximize}}\n").goal == "maximize"


def test_cost_per_acquisition_is_minimised_as_wandb_does(plan):
    assert plan(BASE + "metric: {name: cpa}\n").goal == "minimize"


def test_fields_that_are_only_recorded_may_stand_under_trial(plan):
    made = plan(BASE + "trial: {max_steps_per_episode: 50, environment_type: mine}\n")
    assert {(arm.config.max_steps_per_episode, arm.config.environment_type) for arm in made.trials} == {(50, "mine")}


@pytest.mark.parametrize("name", ["market", "env", "seed", "max_steps_per_episode", "environment_type"])
def test_what_all_trials_share_cannot_be_swept(refusal, name):
    (problem,) = refusal(BASE + f"  {name}: {{values: [1, 2]}}\n")
    assert problem.startswith(f"5:3: parameters.{name}: every trial of a sweep has the same {name}: put it under `tr")


@pytest.mark.parametrize(
    ("lines", "place", "complaint"),
    [
        ("  learning_rat: {value: 0.1}", "5:3: parameters.learning_rat", "Did you mean 'learning_rate'?"),
        ("  ppo.clip_rang: {value: 0.1}", "5:3: parameters.ppo.clip_rang", "Did you mean 'ppo.clip_range'?"),
        ("  ppo: {value: {epochs: 2}}", "5:3: parameters.ppo", "unknown parameter"),
        ("trial: {agent_typ: PPO}", "5:9: trial.agent_typ", "Did you mean 'agent_type'?"),
        ("trial:\n  ppo.epoch: 3", "6:3: trial.ppo.epoch", "Did you mean 'ppo.epochs'?"),
        ("  agent_type: {values: [PPO, BayesPDI]}", "5:30: parameters.agent_type.values.1", "Did you mean 'BayesPID'?"),
        (
            "trial: {agent_type: BayesPDI}",
            "5:9: trial.agent_type",
            "unknown agent 'BayesPDI'. Did you mean 'BayesPID'?",
        ),
        (
            "trial: {market: airfrance}",
            "5:9: trial.market",
            "unknown market 'airfrance'. Did you mean 'airfrance-search'?",
        ),
        ("trial: {market: nowhere.yaml}", "5:9: trial.market", "cannot read the market file nowhere.yaml"),
        ("metric: {name: raos, goal: maximize}", "5:10: metric.name", "unknown metric 'raos'. Did you mean 'roas'?"),
        (
            "select: {constraints: {max_cpaa: 200}}",
            "5:24: select.constraints.max_cpaa",
            "unknown metric 'cpaa'. Did you mean 'cpa'?",
        ),
        ("select:\n  constraints:\n    cpa: 200", "7:5: select.constraints.cpa", "write min_cpa or max_cpa"),
        ("select: {constraints: {min_delivery: 0.5}}", "5:24: select.constraints.min_delivery", "select.min_delivery"),
        ("select: {constraints: {max_roas: 3, min_roas: 4}}", "5:24: select.constraints.max_roas", "below min_roas 4"),
        (
            "publish: {gate: {constraints: {max_cpaa: 200}}}",
            "5:32: publish.gate.constraints.max_cpaa",
            "Did you mean 'cpa'?",
        ),
        ("publish: {gate: {constraints: {roas: 4}}}", "5:32: publish.gate.constraints.roas", "min_roas or max_roas"),
        ("select: {constraints: {max_delivery: 0.5}}", "5:24: select.constraints.max_delivery", "min_delivery 0.9"),
        (
            "storage: gs://bucket/x",
            "5:1: storage",
            "gs:// is no storage that is known here: write s3://bucket/prefix, or a folder",
        ),
        ("  ppo.clip_range: {min: 0.1, max: 1.0}", "5:30: parameters.ppo.clip_range.max", "1.0 should be less than 1"),
        (
            "  ppo.clip_range: {min: 0.0, max: 0.5}",
            "5:20: parameters.ppo.clip_range.min",
            "0.0 should be greater than 0",
        ),
        ("  ppo.epochs: {values: [1, 99]}", "5:28: parameters.ppo.epochs.values.1", "99 should be less than or equal"),
        ("  ppo.epochs: {value: 0}", "5:16: parameters.ppo.epochs.value", "0 should be greater than or equal to 1"),
        ("  ppo.epochs: {value: true}", "5:16: parameters.ppo.epochs.value", "True "),
        ("trial: {learning_rate: 1e-4}", "5:9: trial.learning_rate", "'1e-4' is text, not a number: write 0.0001"),
    ],
)
def test_what_no_trial_could_be_made_with_is_refused_with_its_place(refusal, lines, place, complaint):
    (problem,) = refusal(f"{BASE}{lines}\n")
    assert problem.startswith(f"{place}: ")
    assert complaint in problem


def test_whole_number_drawn_from_a_continuous_distribution_is_refused(refusal):
    low, high = refusal(BASE + "  batch_size: {distribution: uniform, min: 3, max: 4}\n")
    assert low.startswith("5:39: parameters.batch_size.min: ")
    assert "3.0 should be" in low
    assert high.startswith("5:47: parameters.batch_size.max: ")
    assert "4.0 should be" in high


def test_continuous_parameter_in_a_grid_is_refused_with_the_remedy(refusal):
    (problem,) = refusal(BASE.replace("random", "grid"))
    assert problem.startswith("4:3: parameters.learning_rate: a grid needs a finite list, and uniform is continuous")


def test_every_field_of_a_trial_but_the_shared_ones_may_be_swept(plan):
    defaults = GAELPExperimentConfig()
    for name in set(FIELD_NAMES) - {"market", "env", "seed"}:
        value = defaults
        for part in name.split("."):
            value = getattr(value, part)
        text = yaml.safe_dump({"method": "grid", "parameters": {name: {"value": value}}})
        assert plan(text).trials[-1].params == {name: value}


def test_problems_of_format_and_of_meaning_are_reported_together(refusal):
    problems = refusal(
        HEAD + "parameters:\n  learning_rate: {min: 0.1, max: 0.01}\n  ppo.clip_rang: {value: 0.1}\n"
        "  ppo.epochs: {values: [1, 99]}\nselect: {topk: 3}\nmetric: {name: roas}\ntrial: {agent_type: PP0}\n"
    )
    assert [problem.split(" ")[0] for problem in problems] == ["4:3:", "5:3:", "6:28:", "7:10:", "8:1:", "9:9:"]


def test_every_problem_of_the_constraints_is_reported_at_once(refusal):
    constraints = "{max_cpaa: 1, max_cpc: two, roas: 3, min_ctr: 0.2, max_ctr: 0.1}"
    problems = refusal(BASE + f"select:\n  topk: 3\n  constraints: {constraints}\n")
    assert [problem.split(" ")[1].rpartition(".")[2] for problem in problems] == [
        "topk:",
        "max_cpaa:",
        "max_cpc:",
        "roas:",
        "max_ctr:",
    ]


def test_constraints_are_written_out_in_the_file_as_it_ran(plan):
    before = plan(BASE + "select: {constraints: {max_cpa: 200, min_ctr: 0.01}}\n")
    assert before.as_file()["select"]["constraints"] == {"max_cpa": 200, "min_ctr": 0.01}
    assert plan(yaml.safe_dump(before.as_file())).spec == before.spec
    assert plan(BASE).as_file()["select"]["constraints"] == {}


@pytest.mark.parametrize("name", SAFETY)
def test_violations_are_not_maximised(refusal, name):
    (problem,) = refusal(f"{BASE}metric: {{name: {name}, goal: maximize}}\n")
    assert "Write `goal: minimize`" in problem


def test_a_field_written_in_two_ways_is_kept_in_either_order(plan):
    for trial in ("{ppo.clip_range: 0.1, ppo: {epochs: 2}}", "{ppo: {epochs: 2}, ppo.clip_range: 0.1}"):
        config = plan(f"{BASE}trial: {trial}\n").trials[0].config
        assert (config.ppo.clip_range, config.ppo.epochs) == (0.1, 2)


def test_a_problem_inside_a_section_is_placed_at_its_own_line(refusal):
    (problem,) = refusal(f"{BASE}trial:\n  ppo:\n    clip_range: 2.0\n")
    assert problem.startswith("7:5: trial.ppo.clip_range: 2.0 should be less than 1")


def test_numbers_beyond_all_reason_are_refused_not_drawn(refusal):
    (problem,) = refusal(HEAD + "parameters:\n  num_episodes: {min: 1, max: 99999999999999999999999}\n")
    assert "parameters.num_episodes.max" in problem


def test_a_null_value_survives_the_file_as_it_ran(plan, tmp_path):
    before = plan(HEAD + "parameters:\n  heterogeneity: {value: null}\n  learning_rate: {min: 0.1, max: 0.2}\n")
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(before.as_file()))
    assert [t.config for t in plan_sweep(path).trials] == [t.config for t in before.trials]


def test_a_wide_range_of_integers_is_no_grid(refusal):
    (problem,) = refusal("method: grid\nparameters:\n  num_episodes: {min: 1, max: 30000000}\n")
    assert "a grid of 30,000,000 values is no grid" in problem
