"""W&B's sweep format is read as W&B means it, and every mistake is named with its line and remedy."""

import pytest
import wandb
import yaml
from pydantic import ValidationError

from gaelp_ray.sweep.format.blocks import parse_bytes
from gaelp_ray.sweep.format.load import load_sweep
from gaelp_ray.sweep.format.parameters import ParameterSpec
from gaelp_ray.sweep.format.spec import SweepSpec

HEAD = "method: random\nrun_cap: 2\nparameters:\n"
BASE = HEAD + "  learning_rate: {min: 0.001, max: 0.01}\n"
PLAIN = {"name": "s", "method": "grid", "parameters": {"batch_size": {"value": 8}}}


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


REFUSED = ["team/proj", "a\\b", "50%", "a#b", "why?", "a:b", "p" * 129]


@pytest.mark.parametrize("project", [*REFUSED, "", "p" * 128, "läuft (2).a-b_c"])
def test_a_project_is_one_that_wandb_takes(project, write, refusal):
    if project in REFUSED:
        with pytest.raises(wandb.Error):
            wandb.Settings(project=project)
    path = write(BASE + yaml.safe_dump({"project": project}, width=1000))
    if project in ("", *REFUSED):
        (problem,) = refusal(path)
        assert problem.startswith("5:1: project: ") and problem.endswith("and a team under `entity`")
    else:
        assert load_sweep(path).project == wandb.Settings(project=project).project


@pytest.mark.parametrize("tag", ["", "t" * 65])
def test_a_tag_that_wandb_refuses_is_refused(tag, write, refusal):
    with pytest.raises(ValueError, match="1 and 64"):
        wandb.Settings(run_tags=[tag])
    (problem,) = refusal(write(BASE + f"tracking: {{tags: [good, '{tag}']}}\n"))
    assert "tracking.tags.1: a tag has 1 to 64 characters" in problem
    assert load_sweep(write(BASE + f"tracking: {{tags: [{'t' * 64}]}}\n")).tracking.tags == ("t" * 64,)


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
def test_wrong_parameter_is_refused_with_its_line(write, parameter, complaint, refusal):
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
            "unknown distribution 'gauss'. Closest: log_normal, ",
        ),
        (
            "{distribution: log_unifrom, min: 1, max: 3}",
            "4:19: parameters.learning_rate.distribution",
            "unknown distribution 'log_unifrom'. Did you mean 'log_uniform'?",
        ),
        *(
            (
                f"{{distribution: {theirs}, min: 1, max: 3}}",
                "4:19: parameters.learning_rate.distribution",
                f"unknown distribution '{theirs}'. Did you mean '{ours}'?",
            )
            for theirs, ours in [
                ("loguniform", "log_uniform_values"),
                ("log-uniform", "log_uniform_values"),
                ("quniform", "q_uniform"),
                ("randint", "int_uniform"),
            ]
        ),
        ("{min: 0.1, upper: 0.2}", "4:29: parameters.learning_rate.upper", "unknown key. Did you mean 'max'?"),
        ("{min: 0.1, mx: 0.2}", "4:29: parameters.learning_rate.mx", "Did you mean 'max'?"),
        (
            "{lr: {min: 0.1, max: 0.2}}",
            "4:19: parameters.learning_rate.lr",
            "unknown key: write nested parameters under a key `parameters`",
        ),
    ],
)
def test_wrong_key_of_a_parameter_is_refused_with_its_place(write, parameter, place, complaint, refusal):
    (problem,) = refusal(write(f"{HEAD}  learning_rate: {parameter}\n"))
    assert problem.startswith(f"{place}: ")
    assert complaint in problem


@pytest.mark.parametrize(
    ("lines", "place", "complaint"),
    [
        ("paramters: 3", "5:1: paramters", "unknown key. Did you mean 'parameters'?"),
        (
            "zebra: 3",
            "5:1: zebra",
            "unknown key. Closest: trial, metric, storage, run_cap, tracking; `gaelp-ray schema` lists all.",
        ),
        ("select: {topk: 3}", "5:10: select.topk", "unknown key. Did you mean 'top_k'?"),
        ("resources: {cpus: 1}", "5:13: resources.cpus", "unknown key. Did you mean 'cpu'?"),
        ("tracking: {mod: offline}", "5:12: tracking.mod", "unknown key. Did you mean 'mode'?"),
        ("metric: {name: roas, gaol: maximize}", "5:22: metric.gaol", "unknown key. Did you mean 'goal'?"),
        ("metric: {name: roas, goal: maximise}", "5:22: metric.goal", "'maximise' should be 'maximize' or 'minimize'"),
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
        ("early_terminate: {type: bandit}", "5:19: early_terminate.type", "'bandit' should be 'hyperband'"),
        ("early_terminate: {type: hyperband}", "5:1: early_terminate", "hyperband needs min_iter, or max_iter and s"),
        ("early_terminate: hyperband", "5:1: early_terminate", "'hyperband' is no mapping of keys: write {type: hyper"),
        (
            "early_terminate: {type: hyperband, min_iter: 3, mim_iter: 3}",
            "5:49: early_terminate.mim_iter",
            "Did you mean 'min_iter'?",
        ),
        ("scheduler: asha", "5:1: scheduler", "'asha' is no mapping of keys: write {type: asha}"),
        ("scheduler: {grace_period: 3}", "5:1: scheduler", "the key type is missing: one of none, asha, hyperband, "),
        ("scheduler: {type: ahsa}", "5:1: scheduler", "unknown type 'ahsa'. Did you mean 'asha'?"),
        (
            "scheduler: {type: hyperopt, grace_perod: 3}",
            "5:1: scheduler",
            "unknown type 'hyperopt'. Closest: hyperband, pbt, pb2, none, asha; `gaelp-ray schema` lists all. Its "
            "other keys were not checked",
        ),
        ("scheduler: {type: asha, grace_perod: 3}", "5:25: scheduler.grace_perod", "Did you mean 'grace_period'?"),
        ("scheduler: {type: asha, grace_period: 0}", "5:25: scheduler.grace_period", "0 should be greater than or eq"),
        (
            "scheduler: {type: hyperband, min_samples: 3}",
            "5:30: scheduler.min_samples",
            "Known: reduction_factor, type",
        ),
        (
            "scheduler: {type: pbt, hyperparam_mutations: {x: {min: 3, mx: 4}}}",
            "5:59: scheduler.hyperparam_mutations.x.mx",
            "Did you mean 'max'?",
        ),
        ("seeds: 0", "5:1: seeds", "0 seeds: write 1 to 1000"),
        ("seeds: {min: 1, mux: 3}", "5:17: seeds.mux", "Did you mean 'max'?"),
        ("stop: {time: soon}", "5:8: stop.time", "'soon' is no time: write seconds, or a number with s, m, h or d"),
        ("stop: {plateau: {patiense: 3, patience: 4}}", "5:18: stop.plateau.patiense", "Did you mean 'patience'?"),
        ("stop: {plateau: {}}", "5:8: stop.plateau.patience", "the key is missing"),
        ("metrics: [{name: a}, {name: b}]", "5:1: metrics", "one metric decides here: write it under `metric`"),
        ("metric: {name: roas, target: high}", "5:22: metric.target", "'high' is text, not a number"),
        (
            "early_terminate: {type: hyperband, min_iter: 3}\nscheduler: {type: asha}",
            "5:1: early_terminate",
            "early_terminate and scheduler both stop trials: keep one of them",
        ),
    ],
)
def test_wrong_key_is_refused_with_its_place(write, lines, place, complaint, refusal):
    (problem,) = refusal(write(f"{BASE}{lines}\n"))
    assert problem.startswith(f"{place}: ")
    assert complaint in problem


def test_size_of_memory_that_is_none_is_refused_with_the_units(write, refusal):
    (problem,) = refusal(write(f"{BASE}resources: {{memory: 1 parsec}}\n"))
    assert problem.startswith("5:")
    assert "memory '1 parsec' is no size: write a number with KiB, MiB or GiB" in problem


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BASE.replace("run_cap: 2", "run_cap: 0"), "2:1: run_cap: 0 should be greater than or equal to 1"),
        (BASE.replace("run_cap: 2", "run_cap: true"), "2:1: run_cap: True "),
        (BASE.replace("run_cap: 2", "run_cap: 2.5"), "2:1: run_cap: 2.5 "),
        (BASE.replace("random", "custom"), "1:1: method: custom hands the search to a program of W&B's: use random,"),
        (BASE.replace("random", "baies"), "1:1: method: 'baies' should be 'random', 'grid' or 'bayes'"),
        (BASE.replace("random", "grid"), "4:3: parameters.learning_rate: a grid needs a finite list, and uniform is "),
        (BASE.removeprefix("method: random\n"), "1:1: method: the key is missing"),
        ("method: grid\n", "1:1: parameters: the key is missing"),
        ("method: grid\nparameters: {}\n", "2:1: parameters: {} "),
        ("method: grid\nparameters:\n", "2:1: parameters: None "),
    ],
)
def test_file_without_what_it_needs_is_refused(write, text, complaint, refusal):
    (problem,) = refusal(write(text))
    assert problem.startswith(complaint)


def test_defaults_of_our_own_keys(write):
    spec = load_sweep(write(BASE))
    assert (spec.metric.name, spec.metric.goal) == ("delivered_roas", "maximize")
    assert (spec.seed, spec.storage, spec.max_concurrent, spec.tracking.mode) == (0, "./results", None, "auto")
    assert (spec.select.top_k, spec.select.min_delivery, spec.select.include_default) == (5, 0.95, True)
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
