"""A file is read whole: every problem at once, at any depth, in its order; and what remains can be checked further."""

import pytest

from gaelp_ray.sweep.format.document import LAUNCHER_KEYS, read_document
from gaelp_ray.sweep.format.load import load_sweep, parse, unused_keys

HEAD = "method: random\nrun_cap: 2\nparameters:\n"
BASE = HEAD + "  learning_rate: {min: 0.001, max: 0.01}\n"


def valid_part(path):
    """The spec and the problems of a file."""
    parsed = parse(read_document(path))
    return parsed.spec, parsed.problems


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(write, refusal):
    text = "method: random\nrun_cap: 0\nparamters: 3\nparameters:\n  learning_rate: {min: 0.1, max: 0.01}\n"
    problems = refusal(write(text + "  batch_size: {values: []}\nselect: {topk: 3}\n"))
    assert [problem.split(" ")[0:2] for problem in problems] == [
        ["2:1:", "run_cap:"],
        ["3:1:", "paramters:"],
        ["5:3:", "parameters.learning_rate:"],
        ["6:3:", "parameters.batch_size:"],
        ["7:10:", "select.topk:"],
    ]


def test_what_a_misspelt_word_holds_is_checked_as_what_was_meant(write, refusal):
    text = BASE + "schedular: {type: ahsa, grace_perod: 0, brakets: 2}\n" + "stop: {plateau: {patiense: 0}}\n"
    assert [problem.split(" ", 2)[:2] for problem in refusal(write(text))] == [
        ["5:1:", "schedular:"],
        ["5:1:", "scheduler:"],
        ["5:25:", "scheduler.grace_perod:"],
        ["5:25:", "scheduler.grace_period:"],
        ["5:41:", "scheduler.brakets:"],
        ["6:18:", "stop.plateau.patiense:"],
        ["6:18:", "stop.plateau.patience:"],
    ]


def test_parameters_that_the_spec_is_without_have_their_names(write):
    wrong = "{min: 2, max: 1}"
    text = f"  ppo: {{parameters: {{x: {wrong}, hyperparam_mutations: {{parameters: {{y: {wrong}}}}}}}}}\n"
    text += f"scheduler: {{type: pbt, hyperparam_mutations: {{a.b: {wrong}, c: {{parameters: {{d: {wrong}}}}}}}}}\n"
    parsed = parse(read_document(write(BASE + text)))
    assert set(parsed.wrong_parameters().values()) == {"ppo.x", "ppo.hyperparam_mutations.y", "a.b", "c.d"}
    assert all(path in parsed.document.marks for path in parsed.wrong_parameters())


def test_what_remains_without_the_problems_can_be_checked_further(write):
    spec, problems = valid_part(write(BASE + "  batch_size: {values: []}\nselect: {topk: 3}\n"))
    assert len(problems) == 2
    assert list(spec.parameters) == ["learning_rate"]


def test_what_remains_of_select_has_its_constraints_without_the_wrong_ones(write):
    path = write(BASE + "select: {topk: 3, top_k: 0, episodes: 64, constraints: {max_cpa: two, min_ctr: 0.1}}\n")
    spec, problems = valid_part(path)
    assert len(problems) == 3
    assert (spec.select.episodes, spec.select.top_k, spec.select.constraints) == (64, 5, {"min_ctr": 0.1})


def test_what_remains_of_a_wrong_list_is_the_rest_of_its_block(write):
    path = write(BASE + "select: {markets: [airfrance-search, 3, 4], episodes: 64, constraints: {min_ctr: 0.1}}\n")
    spec, problems = valid_part(path)
    assert [problem.path for problem in problems] == [("select", "markets", 1), ("select", "markets", 2)]
    assert (spec.select.episodes, spec.select.markets, spec.select.constraints) == (64, (), {"min_ctr": 0.1})


def test_problems_of_a_gate_have_their_place_and_leave_the_rest(write, refusal):
    text = "publish:\n  registry: a b\n  gate: {constraints: {min_roas: many, max_cpa: 30}, regresion: true}\n"
    assert [problem.partition(": ")[0] for problem in refusal(write(BASE + text))] == ["6:3", "7:24", "7:54"]
    spec, problems = valid_part(write(BASE + text))
    assert len(problems) == 3 and any("Did you mean 'regression'?" in problem.message for problem in problems)
    assert spec.publish.gate is not None
    assert (spec.publish.registry, spec.publish.gate.constraints) == (None, {"max_cpa": 30})
    (empty,) = refusal(write(BASE + "publish: {gate: }\n"))
    assert empty.startswith("5:11: publish.gate: the gate is empty: write `gate: {}`")


@pytest.mark.parametrize("method", ["random", "grid"])
def test_a_sampler_is_of_bayes(write, refusal, method):
    text = f"method: {method}\nrun_cap: 2\nsampler: gp\nparameters:\n  batch_size: {{values: [2, 3]}}\n"
    assert refusal(write(text)) == ["3:1: sampler: a sampler is of method bayes: remove it, or write `method: bayes`"]
    assert load_sweep(write(text.replace(method, "bayes"))).sampler == "gp"
    assert load_sweep(write(text.replace("sampler: gp\n", ""))).sampler is None


def test_keys_of_wandbs_launcher_are_accepted_and_reported_as_unused(write):
    assert {"program", "command", "controller", "job"} < LAUNCHER_KEYS
    plain = load_sweep(write(BASE))
    path = write(BASE + "".join(f"{key}: [x, '${{env}}']\n" for key in sorted(LAUNCHER_KEYS)))
    assert load_sweep(path) == plain
    assert unused_keys(read_document(path)) == sorted(LAUNCHER_KEYS)


def test_scheduler_of_wandbs_launcher_and_what_only_its_controller_reads_are_unused(write):
    path = write(BASE + "scheduler: {engine: wandb}\nmetric: {name: loss, impute: worst}\n")
    assert load_sweep(path).scheduler.type == "none"
    assert unused_keys(read_document(path)) == ["metric.impute", "scheduler"]


def test_own_keys_are_not_reported_as_unused(write):
    assert unused_keys(read_document(write(BASE + "seed: 1\n"))) == []


def test_name_is_that_of_the_file_unless_it_says_otherwise(write):
    assert load_sweep(write(BASE, "roas_v1.2.yaml")).name == "roas_v1.2"
    assert load_sweep(write(BASE + "name: mine\n", "roas.yaml")).name == "mine"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BASE + "  ppo.epochs: 4\n", "5:3: parameters.ppo.epochs: 4 is no mapping of keys: write {value: 4}"),
        (BASE + "metric: roas\n", "5:1: metric: 'roas' is no mapping of keys: write {name: roas}"),
        (HEAD + "  agent_type: {values: PPO}\n", "parameters.agent_type.values: 'PPO' should be a list"),
        (HEAD + "  ppo.epochs: {max: 4}\n", "needs min"),
        (HEAD + "  ppo.epochs: {min: 1, max: 4, probabilities: [1.0]}\n", "probabilities belong to values"),
        (HEAD + "  ppo.epochs: {min: 1, max: 4, q: 2}\n", "parameters.ppo.epochs: int_uniform takes no q: name a"),
        (
            HEAD + "  ppo.epochs: [1, 4]\n",
            "parameters.ppo.epochs: [1, 4] is no mapping of keys: write {values: [1, 4]}",
        ),
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
def test_common_mistakes_get_their_remedy(write, text, complaint, refusal):
    assert any(complaint in line for line in refusal(write(text)))


def test_two_stoppers_are_reported_with_the_other_problems(write, refusal):
    text = BASE + "early_terminate: {type: hyperband, min_iter: 0}\nscheduler: {type: median}\n"
    assert [line.split(" ")[1] for line in refusal(write(text))] == ["early_terminate:", "early_terminate.min_iter:"]


NESTED = """\
method: random
parameters:
  optimizer:
    parameters:
      lr: {min: 0.1, max: 0.01}
      nadam:
        parameters:
          beta: {values: []}
          decay: {min: 0.1, mx: 0.2}
          q: 3
          ok: {distribution: normal}
  epochs: {value: 3}
"""


def test_problems_of_nested_parameters_have_their_place_at_every_depth(write, refusal):
    assert [line.split(": ")[0:2] for line in refusal(write(NESTED))] == [
        ["5:7", "parameters.optimizer.parameters.lr"],
        ["8:11", "parameters.optimizer.parameters.nadam.parameters.beta"],
        ["9:29", "parameters.optimizer.parameters.nadam.parameters.decay.mx"],
        ["10:11", "parameters.optimizer.parameters.nadam.parameters.q"],
    ]
    spec, problems = valid_part(write(NESTED))
    assert len(problems) == 4
    assert list(spec.sample(1)[0]) == ["epochs", "optimizer"]
    assert list(spec.sample(1)[0]["optimizer"]["nadam"]) == ["decay", "ok"]


def test_what_remains_has_no_nested_mapping_that_is_empty(write):
    text = "method: random\nparameters:\n  a: {parameters: {b: {parameters: {c: {values: []}}}}}\n  d: {value: 1}\n"
    spec, problems = valid_part(write(text))
    assert len(problems) == 1
    assert list(spec.parameters) == ["d"]


def test_continuous_parameters_of_a_grid_are_named_at_every_depth(write, refusal):
    text = (
        "method: grid\nparameters:\n  a: {distribution: normal}\n  b:\n    parameters:\n      c: {min: 0.1, max: 2}\n"
    )
    assert [line.split(": ")[1] for line in refusal(write(text))] == ["parameters.a", "parameters.b.parameters.c"]


@pytest.mark.parametrize("name", ["my first sweep", "../x", "", "läuft (2)"])
def test_wandb_allows_any_name(write, name):
    assert load_sweep(write(BASE + f"name: '{name}'\n")).name == name


def test_nesting_without_end_is_refused(write, refusal):
    (problem,) = refusal(
        write("method: random\nparameters: " + "{a: {parameters: " * 300 + "{b: {value: 1}}" + "}}" * 300)
    )
    assert "nested too deeply" in problem


def test_a_remedy_for_bounds_does_not_change_their_distribution(write, refusal):
    problems = refusal(write(HEAD + "  learning_rate: {min: 1e0, max: 1e2}\n"))
    assert "write 1.0 " in problems[0] and "write 100.0 " in problems[1]
