"""W&B's parameter syntax: what is inferred, what is refused, and how deep it may be nested."""

import pytest
from pydantic import ValidationError

from gaelp_ray.sweep.format.parameters import KEYS, ParameterSpec, leaves

MINIMAL = {"value": 1, "values": [1, 2], "probabilities": [0.5, 0.5], "min": 1, "max": 3}


def complaint(**keys) -> str:
    with pytest.raises(ValidationError) as refused:
        ParameterSpec.model_validate(keys)
    return refused.value.errors()[0]["msg"]


@pytest.mark.parametrize("kind", KEYS)
def test_every_distribution_can_be_named_with_what_it_needs_only(kind):
    made = ParameterSpec.model_validate({"distribution": kind, **{key: MINIMAL[key] for key in KEYS[kind][0]}})
    assert made.kind == kind


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("key", [*MINIMAL, "mu", "sigma", "a", "b", "q"])
def test_a_key_that_a_distribution_does_not_take_is_refused(kind, key):
    needed, optional = KEYS[kind]
    keys = {word: MINIMAL[word] for word in needed} | {"distribution": kind, key: MINIMAL.get(key, 1)}
    if key in (*needed, *optional):
        assert ParameterSpec.model_validate(keys).kind == kind
    else:
        assert key in complaint(**keys)


@pytest.mark.parametrize("key", sorted({key for needed, _ in KEYS.values() for key in needed}))
def test_a_key_that_a_distribution_needs_is_asked_for(key):
    for kind, (needed, _) in KEYS.items():
        if key in needed:
            rest = {word: MINIMAL[word] for word in needed if word != key}
            assert f"{kind} needs" in complaint(distribution=kind, **rest)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"values": [1, 2], "probabilities": [0.25, 0.75]}, "categorical_w_probabilities"),
        ({"distribution": "normal"}, "normal"),
        ({"distribution": "q_uniform", "min": 1, "max": 5}, "q_uniform"),
    ],
)
def test_inference_of_wandbs_newer_distributions(keys, text):
    assert ParameterSpec.model_validate(keys).kind == text


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"mu": 1}, "needs a distribution that takes mu: normal, q_normal, log_normal, q_log_normal"),
        ({"min": 1, "max": 5, "q": 2}, "int_uniform takes no q: name a distribution that does: q_uniform, "),
        ({"distribution": "normal", "min": 1, "max": 2}, "normal takes no min and max: name a distribution that does"),
        ({"distribution": "normal", "min": 1, "max": 2, "mu": 0}, "normal takes no min and max: leave them out"),
        ({"distribution": "q_normal", "q": 0}, "q must be above 0, not 0"),
        ({"distribution": "q_normal", "q": -0.5}, "q must be above 0"),
        ({"distribution": "normal", "sigma": -1}, "sigma must be at least 0, not -1"),
        ({"distribution": "beta", "a": 0}, "a and b must be above 0, not 0"),
        ({"distribution": "log_uniform", "min": 0, "max": 1000}, "log_uniform_values takes limits"),
        ({"distribution": "inv_log_uniform", "min": -1000, "max": 0}, "inv_log_uniform_values takes limits"),
        ({"distribution": "log_normal", "mu": 700}, "mu and sigma of the logarithm, and e^709 is no number"),
        ({"distribution": "q_log_uniform_values", "min": 0, "max": 1}, "q_log_uniform_values needs min > 0, not 0"),
        ({"distribution": "normal", "mu": None}, "None is not a number"),
        ({"parameters": {"x": {"value": 1}}, "value": 1}, "stands alone"),
        ({"parameters": None}, "stands alone"),
        ({"parameters": {}}, "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(keys, text):
    assert text in complaint(**keys)


def test_probabilities_may_be_off_by_as_much_as_wandb_allows():
    thirds = {"values": [1, 2, 3], "probabilities": [0.33333, 0.33333, 0.33333]}
    assert ParameterSpec.model_validate(thirds).prior.from_unit(1.0) == 3
    assert "sum to 1" in complaint(values=[1, 2], probabilities=[0.5, 0.4999])


def test_a_default_that_was_not_written_is_not_written_out():
    for keys in ({"value": None}, {"distribution": "normal", "mu": 1}, {"parameters": {"x": {"values": [None, 2]}}}):
        made = ParameterSpec.model_validate(keys)
        assert made.model_dump(mode="json", exclude_none=True) == keys
        assert ParameterSpec.model_validate(made.model_dump()) == made


def test_leaves_know_their_dotted_name_and_the_path_of_their_key():
    tree = {"a.b": {"value": 1}, "c": {"parameters": {"d": {"parameters": {"e": {"min": 1, "max": 2}}}}}}
    found = list(leaves({name: ParameterSpec.model_validate(keys) for name, keys in tree.items()}))
    assert [(leaf.name, leaf.path) for leaf in found] == [
        ("a.b", ("parameters", "a.b")),
        ("c.d.e", ("parameters", "c", "parameters", "d", "parameters", "e")),
    ]


def test_parameters_may_be_nested_deeply():
    keys = {"values": [1, 2]}
    for _ in range(60):
        keys = {"parameters": {"deeper": keys}}
    (leaf,) = leaves({"top": ParameterSpec.model_validate(keys)})
    assert len(leaf.names) == 61
