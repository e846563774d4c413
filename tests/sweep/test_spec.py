"""W&B's sweep format is read as W&B means it, and every mistake is named with its line and remedy."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.document import read_document
from gaelp_ray.sweep.load import LAUNCHER_KEYS, load_sweep, parse, unused_keys
from gaelp_ray.sweep.spec import ParameterSpec, SweepSpec, parse_bytes

HEAD = "method: random\nrun_cap: 2\nparameters:\n"
BASE = HEAD + "  learning_rate: {min: 0.001, max: 0.01}\n"
PLAIN = {"name": "s", "method": "grid", "parameters": {"batch_size": {"value": 8}}}


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "sweep.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(path: Path) -> list[str]:
    """What load_sweep() says against a file, from the line number on; never in pydantic's own words."""
    with pytest.raises(SweepFileError) as refused:
        load_sweep(path)
    for foreign in ("validation error", "pydantic", "type=", "Traceback"):
        assert foreign not in str(refused.value)
    return [problem.removeprefix(f"{path}:") for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("parameter", "kind"),
    [
        ({"value": 3}, "constant"),
        ({"value": None}, "constant"),
        ({"values": [1, 2]}, "categorical"),
        ({"values": [1, "a", None, True]}, "categorical"),
        ({"min": 1, "max": 5}, "int_uniform"),
        ({"min": 1, "max": 5.0}, "uniform"),
        ({"min": 1.0, "max": 5}, "uniform"),
        ({"min": 1.0, "max": 5.0}, "uniform"),
        ({"min": 1, "max": 5, "distribution": "uniform"}, "uniform"),
        ({"min": 1, "max": 5, "distribution": "log_uniform_values"}, "log_uniform_values"),
        ({"values": [1, 2], "distribution": "categorical", "probabilities": [0.25, 0.75]}, "categorical"),
    ],
)
def test_distribution_is_inferred_as_wandb_infers_it(parameter, kind):
    assert ParameterSpec.model_validate(parameter).kind == kind


def test_bounds_keep_the_numbers_as_written():
    assert ParameterSpec.model_validate({"min": 1, "max": 5}).bounds == (1, 5)
    with pytest.raises(ValueError, match="categorical has no min and max"):
        _ = ParameterSpec.model_validate({"values": [1, 2]}).bounds


@pytest.mark.parametrize(
    ("parameter", "complaint"),
    [
        ("{min: 0.1, max: 0.01}", "min 0.1 is not below max 0.01"),
        ("{min: 3, max: 3}", "min 3 is not below max 3"),
        ("{min: 0.1}", "needs max"),
        ("{values: []}", "values is empty: list at least one"),
        ("{values: [0.1, 0.2], probabilities: [1.0]}", "1 probabilities for 2 values"),
        ("{values: [0.1, 0.2], probabilities: [0.5, 0.6]}", "probabilities must be at least 0 and sum to 1"),
        ("{values: [0.1, 0.2], probabilities: [-0.5, 1.5]}", "probabilities must be at least 0 and sum to 1"),
        ("{value: 0.1, values: [0.1]}", "needs exactly one of: value; values; min and max"),
        ("{values: [0.1], min: 0.1, max: 1.0}", "needs exactly one of: value; values; min and max"),
        ("{}", "needs exactly one of: value; values; min and max"),
        ("{distribution: log_uniform_values, min: 0.0, max: 0.1}", "log_uniform_values needs min > 0, not 0.0"),
        ("{distribution: log_uniform_values, min: 0.1}", "needs max"),
        ("{distribution: int_uniform, min: 1.5, max: 3}", "int_uniform needs whole numbers"),
        ("{distribution: categorical, min: 1, max: 3}", "needs values"),
        ("0.1", "0.1 "),
    ],
)
def test_wrong_parameter_is_refused_with_its_line(write, parameter, complaint):
    (problem,) = refusal(write(f"{HEAD}  learning_rate: {parameter}\n"))
    assert problem.startswith("4:3: parameters.learning_rate: ")
    assert complaint in problem


@pytest.mark.parametrize(
    ("parameter", "place", "complaint"),
    [
        ("{values: [1, 2], probabilities: [true, 0.0]}", "4:51: parameters.learning_rate.probabilities.0", "True"),
        ("{min: .nan, max: 0.1}", "4:19: parameters.learning_rate.min", "nan is not a number"),
        ("{min: true, max: 2}", "4:19: parameters.learning_rate.min", "True is not a number"),
        ("{min: low, max: 2}", "4:19: parameters.learning_rate.min", "'low' is text"),
        ("{min: 1e-4, max: 0.1}", "4:19: parameters.learning_rate.min", "write 0.0001"),
        ("{min: 0.1, max: 1e1}", "4:29: parameters.learning_rate.max", "write 10"),
        (
            "{distribution: gauss, min: 1, max: 3}",
            "4:19: parameters.learning_rate.distribution",
            "'log_uniform_values'",
        ),
        ("{min: 0.1, mx: 0.2}", "4:29: parameters.learning_rate.mx", "Did you mean 'max'?"),
    ],
)
def test_wrong_key_of_a_parameter_is_refused_with_its_place(write, parameter, place, complaint):
    (problem,) = refusal(write(f"{HEAD}  learning_rate: {parameter}\n"))
    assert problem.startswith(f"{place}: ")
    assert complaint in problem


@pytest.mark.parametrize(
    ("lines", "place", "complaint"),
    [
        ("paramters: 3", "5:1: paramters", "unknown key. Did you mean 'parameters'?"),
        ("zebra: 3", "5:1: zebra", "unknown key. Known: description, entity, max_concurrent, method"),
        ("select: {topk: 3}", "5:10: select.topk", "unknown key. Did you mean 'top_k'?"),
        ("resources: {cpus: 1}", "5:13: resources.cpus", "unknown key. Did you mean 'cpu'?"),
        ("tracking: {mod: offline}", "5:12: tracking.mod", "unknown key. Did you mean 'mode'?"),
        ("metric: {name: roas, gaol: maximize}", "5:22: metric.gaol", "unknown key. Did you mean 'goal'?"),
        ("metric: {name: roas, goal: maximise}", "5:22: metric.goal", "'maximise' should be 'maximize' or 'minimize'"),
        ("name: ../x", "5:1: name", "'../x' names a folder: use letters, digits"),
        ("name: a b", "5:1: name", "'a b' names a folder: use letters, digits"),
        ("name: ''", "5:1: name", "'' names a folder: use letters, digits"),
        ("name: 5", "5:1: name", "5 "),
        ("seed: -1", "5:1: seed", "-1 should be greater than or equal to 0"),
        ("max_concurrent: 0", "5:1: max_concurrent", "0 should be greater than or equal to 1"),
        ("select: {top_k: 0}", "5:10: select.top_k", "0 should be greater than or equal to 1"),
        ("select: {confidence: 1.0}", "5:10: select.confidence", "1.0 should be less than 1"),
        ("select: {min_delivery: 9e-1}", "5:10: select.min_delivery", "'9e-1' is text, not a number: write 0.9"),
        ("select: {constraints: 3}", "5:10: select.constraints", "3 should be a mapping of keys"),
        ("select: {constraints: {max_cpa: two}}", "5:24: select.constraints.max_cpa", "'two' is text, not a number"),
        ("select: {constraints: {max_cpa: 2e2}}", "5:24: select.constraints.max_cpa", "write 200.0 "),
        ("select: {constraints: {max_cpa: .nan}}", "5:24: select.constraints.max_cpa", "nan is not a number"),
        ("select: {constraints: {max_cpa: .inf}}", "5:24: select.constraints.max_cpa", "inf is not a number"),
        ("select: {constraints: {max_cpa: true}}", "5:24: select.constraints.max_cpa", "True is not a number"),
        ("select: {constraints: {max_cpa: [1]}}", "5:24: select.constraints.max_cpa", "[1] is not a number"),
        ("select: {constraints: {max_cpa: null}}", "5:24: select.constraints.max_cpa", "None is not a number"),
        ("select: {constraint: {max_cpa: 2}}", "5:10: select.constraint", "Did you mean 'constraints'?"),
        ("select:\n  episodes: 5", "6:3: select.episodes", "5 should be greater than or equal to 16"),
        ("resources: {cpu: 0}", "5:13: resources.cpu", "0 should be greater than 0"),
        ("resources: {memory: -1}", "5:13: resources.memory", "-1 should be greater than 0"),
        ("tracking: {mode: offlin}", "5:12: tracking.mode", "'offlin' should be 'auto', 'online', 'offline' or"),
        ("trial: [1]", "5:1: trial", "[1] should be "),
    ],
)
def test_wrong_key_is_refused_with_its_place(write, lines, place, complaint):
    (problem,) = refusal(write(f"{BASE}{lines}\n"))
    assert problem.startswith(f"{place}: ")
    assert complaint in problem


def test_size_of_memory_that_is_none_is_refused_with_the_units(write):
    (problem,) = refusal(write(f"{BASE}resources: {{memory: 1 parsec}}\n"))
    assert problem.startswith("5:")
    assert "memory '1 parsec' is no size: write a number with KiB, MiB or GiB" in problem


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BASE.replace("run_cap: 2", "run_cap: 0"), "2:1: run_cap: 0 should be greater than or equal to 1"),
        (BASE.replace("run_cap: 2", "run_cap: true"), "2:1: run_cap: True "),
        (BASE.replace("run_cap: 2", "run_cap: 2.5"), "2:1: run_cap: 2.5 "),
        (BASE.replace("run_cap: 2\n", ""), "1:1: method random has no end of its own: give run_cap"),
        (BASE.replace("random", "bayes"), "1:1: method: 'bayes' should be 'random' or 'grid'"),
        (BASE.removeprefix("method: random\n"), "1:1: method: the key is missing"),
        ("method: grid\n", "1:1: parameters: the key is missing"),
        ("method: grid\nparameters: {}\n", "2:1: parameters: {} "),
        ("method: grid\nparameters:\n", "2:1: parameters: None "),
    ],
)
def test_file_without_what_it_needs_is_refused(write, text, complaint):
    (problem,) = refusal(write(text))
    assert problem.startswith(complaint)


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(write):
    text = "method: random\nrun_cap: 0\nparamters: 3\nparameters:\n  learning_rate: {min: 0.1, max: 0.01}\n"
    problems = refusal(write(text + "  batch_size: {values: []}\nselect: {topk: 3}\n"))
    assert [problem.split(" ")[0:2] for problem in problems] == [
        ["2:1:", "run_cap:"],
        ["3:1:", "paramters:"],
        ["5:3:", "parameters.learning_rate:"],
        ["6:3:", "parameters.batch_size:"],
        ["7:10:", "select.topk:"],
    ]


def test_what_remains_without_the_problems_can_be_checked_further(write):
    document = read_document(write(BASE + "  batch_size: {values: []}\nselect: {topk: 3}\n"))
    spec, problems = parse(document)
    assert len(problems) == 2
    assert spec is not None
    assert list(spec.parameters) == ["learning_rate"]


def test_what_remains_of_select_has_its_constraints_without_the_wrong_ones(write):
    path = write(BASE + "select: {topk: 3, top_k: 0, episodes: 64, constraints: {max_cpa: two, min_ctr: 0.1}}\n")
    spec, problems = parse(read_document(path))
    assert len(problems) == 3
    assert spec is not None
    assert (spec.select.episodes, spec.select.top_k, spec.select.constraints) == (64, 5, {"min_ctr": 0.1})


def test_keys_of_wandbs_launcher_are_accepted_and_reported_as_unused(write):
    assert {"program", "command", "controller", "job"} < LAUNCHER_KEYS
    plain = load_sweep(write(BASE))
    path = write(BASE + "".join(f"{key}: [x, y]\n" for key in sorted(LAUNCHER_KEYS)))
    assert load_sweep(path) == plain
    assert unused_keys(read_document(path)) == sorted(LAUNCHER_KEYS)


def test_own_keys_are_not_reported_as_unused(write):
    assert unused_keys(read_document(write(BASE + "seed: 1\n"))) == []


def test_name_is_that_of_the_file_unless_it_says_otherwise(write):
    assert load_sweep(write(BASE, "roas_v1.2.yaml")).name == "roas_v1.2"
    assert load_sweep(write(BASE + "name: mine\n", "roas.yaml")).name == "mine"


def test_defaults_of_our_own_keys(write):
    spec = load_sweep(write(BASE))
    assert (spec.metric.name, spec.metric.goal) == ("delivered_roas", "maximize")
    assert (spec.seed, spec.storage, spec.max_concurrent, spec.tracking.mode) == (0, "./results", None, "auto")
    assert (spec.select.top_k, spec.select.min_delivery, spec.select.include_default) == (5, 0.9, True)
    assert spec.select.constraints == {}


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GiB", 2**30), ("1.5 GiB", 3 * 2**29), ("512MiB", 2**29), ("2kib", 2048), ("3GB", 3 * 10**9), ("700", 700)],
)
def test_memory_sizes(text, size):
    assert parse_bytes(text) == size
    assert SweepSpec.model_validate(PLAIN | {"resources": {"memory": text}}).resources.memory == size


def test_spec_is_frozen_and_survives_yaml():
    spec = SweepSpec.model_validate(PLAIN | {"select": {"top_k": 3}, "tracking": {"tags": ["a"]}})
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"
    written = yaml.safe_load(yaml.safe_dump(spec.model_dump(mode="json", exclude_none=True)))
    assert SweepSpec.model_validate(written) == spec


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BASE + "  ppo.epochs: 4\n", "5:3: parameters.ppo.epochs: 4 is no mapping of keys: write {value: 4}"),
        (BASE + "metric: roas\n", "5:1: metric: 'roas' is no mapping of keys: write {name: roas}"),
        (HEAD + "  agent_type: {values: PPO}\n", "parameters.agent_type.values: 'PPO' should be a list"),
        (HEAD + "  ppo.epochs: {max: 4}\n", "needs min"),
        (HEAD + "  ppo.epochs: {min: 1, max: 4, probabilities: [1.0]}\n", "probabilities belong to values"),
        (HEAD + "  ppo.epochs: {min: 1, max: 4, q: 2}\n", "parameters.ppo.epochs.q: this key of W&B's format is not"),
        (HEAD + "  ppo.max_grad_norm: {min: 0.1, max: .inf}\n", "inf is not a number"),
        (HEAD + "  agent_type: {values: [a, b], probabilities: [.nan, 1.5]}\n", "nan is not a number"),
        (BASE + "resources: {memory: 1..5GiB}\n", "resources.memory: memory '1..5GiB' is no size"),
        (BASE + "resources: {cpu: .inf}\n", "resources.cpu: inf should be a finite number"),
        (BASE + "storage: ''\n", "storage: '' should have at least 1 character"),
        (BASE + "5: 3\n", "5:1: 5: YAML reads this key as no text: put it in quotes"),
        (BASE + "on: 3\n", "5:1: on: YAML reads this key as no text: put it in quotes"),
        ("parameters: &a {x: *a}\n", "nested too deeply, or an alias that holds itself"),
    ],
)
def test_common_mistakes_get_their_remedy(write, text, complaint):
    assert any(complaint in line for line in refusal(write(text)))


def test_a_missing_run_cap_is_reported_with_the_other_problems(write):
    problems = refusal(write("method: random\nparameters:\n  ppo.epochs: {min: 4, max: 1}\n"))
    assert len(problems) == 2 and any("give run_cap" in line for line in problems)


def test_a_remedy_for_bounds_does_not_change_their_distribution(write):
    problems = refusal(write(HEAD + "  learning_rate: {min: 1e0, max: 1e2}\n"))
    assert "write 1.0 " in problems[0] and "write 100.0 " in problems[1]
