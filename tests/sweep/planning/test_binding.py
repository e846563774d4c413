"""Names at any depth are fields, every distribution fits its field, and what nobody acts on yet is refused."""

import pytest

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.planning.applicability import inapplicable
from gaelp_ray.sweep.planning.plan import SweepPlan, plan_sweep

HEAD = "method: random\nrun_cap: 3\nparameters:\n"
BASE = HEAD + "  learning_rate: {min: 0.001, max: 0.01}\n"


@pytest.fixture
def plan(tmp_path):
    """Plans a sweep file with the given text."""

    def plan(text: str, file: str = "trip.yaml", **overrides) -> SweepPlan:
        path = tmp_path / file
        path.write_text(text, encoding="utf-8")
        return plan_sweep(path, overrides)

    return plan


@pytest.fixture
def refusal(plan, tmp_path):
    """What plan_sweep() says against a text, from the line number on."""

    def refusal(text: str, file: str = "trip.yaml") -> list[str]:
        with pytest.raises(SweepFileError) as refused:
            plan(text, file)
        return [problem.removeprefix(f"{tmp_path / file}:") for problem in refused.value.problems]

    return refusal


def test_nested_and_dotted_names_address_the_same_field(plan):
    nested = plan(HEAD + "  ppo:\n    parameters:\n      clip_range: {min: 0.1, max: 0.3}\n      epochs: {value: 2}\n")
    dotted = plan(HEAD + "  ppo.clip_range: {min: 0.1, max: 0.3}\n  ppo.epochs: {value: 2}\n")
    assert nested.trials == dotted.trials
    assert set(nested.trials[1].params) == {"ppo.clip_range", "ppo.epochs"}


def test_the_gaussian_process_says_what_to_install(plan, refusal, monkeypatch):
    text = BASE.replace("random", "bayes") + "sampler: "
    monkeypatch.setattr("gaelp_ray.sweep.planning.binding.find_spec", lambda name: None)
    assert refusal(text + "gp") == ["5:1: sampler: gp needs torch: pip install torch, or write `sampler: tpe`"]
    assert plan(text + "tpe").spec.sampler == "tpe"
    monkeypatch.setattr("gaelp_ray.sweep.planning.binding.find_spec", lambda name: name)
    assert plan(text + "gp").spec.sampler == "gp"


def test_a_nested_parameter_that_no_agent_reads_is_named(plan):
    planned = plan(HEAD + "  ppo: {parameters: {epochs: {values: [1, 2]}}}\ntrial: {agent_type: constant}\n")
    assert [found.parameter for found in inapplicable(planned)] == ["ppo.epochs"]


@pytest.mark.parametrize(
    ("lines", "place", "complaint"),
    [
        (
            "  ppo:\n    parameters:\n      clip_rang: {value: 0.1}",
            "7:7: parameters.ppo.parameters.clip_rang",
            "unknown parameter. Did you mean 'ppo.clip_range'?",
        ),
        (
            "  ppo: {parameters: {clip_range: {min: 0.1, max: 2.0}}}",
            "5:45: parameters.ppo.parameters.clip_range.max",
            "2.0 should be less than 1",
        ),
        (
            "  ppo: {parameters: {epochs: {values: [1, 99]}}}",
            "5:43: parameters.ppo.parameters.epochs.values.1",
            "99 should be less than or equal",
        ),
        (
            "  ppo.epochs: {value: 1}\n  ppo: {parameters: {epochs: {value: 2}}}",
            "6:22: parameters.ppo.parameters.epochs",
            "this is ppo.epochs again, which stands at parameters.ppo.epochs: keep one",
        ),
    ],
)
def test_nested_names_that_do_not_bind_are_refused_with_their_place(refusal, lines, place, complaint):
    (problem,) = refusal(f"{BASE}{lines}\n")
    assert problem.startswith(f"{place}: ")
    assert complaint in problem


RATE = "parameters.learning_rate"  # 0 < learning_rate <= 1


@pytest.mark.parametrize(
    ("keys", "key", "complaint"),
    [
        ("q_uniform, min: 0.04, max: 0.5, q: 0.1", "min", "0.0 should be greater than 0"),
        ("q_uniform, min: 0.2, max: 0.96, q: 0.3", "max", ""),
        ("log_uniform, min: -5, max: 1", "max", "2.71828"),
        ("inv_log_uniform, min: -1, max: 5", "min", "2.71828"),
        ("log_uniform_values, min: 0.1, max: 3", "max", "3.0 should be less than or equal to 1"),
        ("inv_log_uniform_values, min: 0.1, max: 3", "max", "3.0 should be less than or equal to 1"),
        ("q_log_uniform_values, min: 0.1, max: 1", "min", "0 should be greater than 0"),
        ("q_beta, q: 0.5", "distribution", "0.0 should be greater than 0"),
        ("normal, mu: 0.5, sigma: 1.0e-3", "distribution", "normal has no smallest value, and learning_rate should be"),
        (
            "log_normal, mu: -9",
            "distribution",
            "log_normal has no largest value, and learning_rate should be less than",
        ),
    ],
)
def test_ends_of_a_distribution_must_fit_the_field(plan, refusal, keys, key, complaint):
    text = f"{HEAD}  learning_rate: {{distribution: {keys}}}\n"
    if not complaint:
        assert plan(text)
        return
    problems = refusal(text)
    assert (
        f"4:{19 if key == 'distribution' else text.splitlines()[3].index(key + ':') + 1}: {RATE}.{key}: " in problems[0]
    )
    assert complaint in problems[0]


def test_an_endless_distribution_names_both_ends_and_the_remedy(refusal):
    problems = refusal(HEAD + "  learning_rate: {distribution: normal}\n")
    sides = [problem.partition("distribution: ")[2].partition(",")[0] for problem in problems]
    assert sides == ["normal has no smallest value", "normal has no largest value"]
    assert all(problem.endswith("use a distribution with min and max") for problem in problems)


@pytest.mark.parametrize(
    "keys", ["beta", "beta, a: 2, b: 5", "log_uniform, min: -9, max: -1", "uniform, min: 0.1, max: 1"]
)
def test_a_distribution_that_stays_within_the_field_is_planned(plan, keys):
    assert len(plan(f"{HEAD}  learning_rate: {{distribution: {keys}}}\n").trials) == 4


def test_whole_numbers_come_from_a_whole_q(plan, refusal):
    size = HEAD + "  batch_size: {distribution: q_log_uniform_values, min: 8, max: 512, q: Q}\n"
    assert {type(trial.config.batch_size) for trial in plan(size.replace("Q", "8")).trials} == {int}
    assert "should be a valid integer" in refusal(size.replace("Q", "8.0"))[0]
    problem = refusal(HEAD + "  batch_size: {distribution: normal}\n")[0]
    assert problem.startswith(
        "4:16: parameters.batch_size.distribution: normal has no smallest value, and batch_size sh"
    )
    assert "should be a valid integer" in problem


def test_defaults_written_out_are_no_request(plan):
    text = BASE + "scheduler: {type: none}\nseeds: 1\nstop: {}\n"
    assert plan(text).trials == plan(BASE).trials


def test_a_random_search_needs_an_end_to_be_run(refusal):
    (problem,) = refusal(BASE.replace("run_cap: 3\n", ""))
    assert problem == "1:1: run_cap: method random has no end of its own: give run_cap, the number of configurations"


def test_a_grid_too_large_to_run_needs_run_cap(plan, refusal):
    text = "method: grid\nparameters:\n  num_episodes: {min: 1, max: 2000}\n  batch_size: {min: 1, max: 1000}\n"
    assert refusal(text) == ["1:1: run_cap: a grid of 2,000,000 configurations: give run_cap"]
    assert len(plan(text + "run_cap: 2\n").trials) == 3


@pytest.mark.parametrize("name", ["../x", "a b", "", ".hidden", "x" * 101])
def test_a_name_that_is_no_folders_is_refused_with_the_remedy(refusal, plan, name):
    (problem,) = refusal(f"{BASE}name: '{name}'\n")
    assert problem.startswith(f"5:1: name: {name!r} names a folder: use letters, digits, dot, dash and underscore")
    assert "--name" in problem
    assert plan(f"{BASE}name: '{name}'\n", name="fine").spec.name == "fine"


def test_the_files_own_name_is_refused_too(refusal):
    assert refusal(BASE, "my trip.yaml")[0].startswith("1:1: name: 'my trip' names a folder")


def test_a_dollar_in_a_value_survives_the_file_as_it_ran(plan):
    before = plan(BASE + "description: costs $${x}, not ${GAELP_UNSET:-5}\n")
    assert before.spec.description == "costs ${x}, not 5"
    assert before.as_file()["description"] == "costs $${x}, not 5"
