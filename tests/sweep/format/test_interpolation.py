"""`${VAR}` in a string is the environment's, and a value that is one reference keeps its kind."""

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.sweep.format.interpolation import escaped, interpolated, yaml_value

ENVIRONMENT = {"RATE": "1e-3", "RUNS": "12", "CITY": "Köln", "EMPTY": "", "LIST": "[1, 2]", "YES": "true", "V": "1.0.0"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${RUNS}", 12),
        ("${RATE}", 0.001),
        ("${YES}", True),
        ("${CITY}", "Köln"),
        ("${V}", "1.0.0"),
        ("${LIST}", "[1, 2]"),
        ("${EMPTY}", None),
        ("run-${RUNS}", "run-12"),
        ("${RUNS}${RUNS}", "1212"),
        ("${NOWHERE:-5}", 5),
        ("${NOWHERE:-1e-4}", 0.0001),
        ("${NOWHERE:-}", None),
        ("a${NOWHERE:-}b", "ab"),
        ("${EMPTY:-5}", 5),
        ("${RUNS:-5}", 12),
        ("${NOWHERE:-a b: c}", "a b: c"),
        ("$${RUNS}", "${RUNS}"),
        ("$${RUNS} ${RUNS}", "${RUNS} 12"),
        ("$RUNS and $5", "$RUNS and $5"),
    ],
)
def test_references_are_replaced(text, value):
    replaced = interpolated(text, ENVIRONMENT)
    assert (replaced, type(replaced)) == (value, type(value))


@pytest.mark.parametrize("text", ["${", "${}", "${1X}", "x${RUNS", "${RUNS-5}", "${A.B}", "${RUNS:-${CITY}}"])
def test_what_is_no_reference_is_refused_with_the_remedy(text):
    with pytest.raises(ValueError, match="for the characters themselves"):
        interpolated(text, ENVIRONMENT)


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(ValueError, match="the environment variable NOWHERE is not set"):
        interpolated("${NOWHERE}", ENVIRONMENT)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(text=st.text(alphabet="${}:-aA1 ", max_size=12))
def test_an_escaped_text_comes_back(text):
    assert interpolated(escaped({"a": [text]})["a"][0], {}) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5", 5),
        ("{a: [1e-3, '1e-3', -2E5]}", {"a": [0.001, "1e-3", -2e5]}),
        ("1.e3", 1000.0),
        ("1e400", math.inf),
        ("'5'", "5"),
        ("'1e3'", "1e3"),
        ("a: b: c", "a: b: c"),
    ],
)
def test_a_value_is_yaml_and_its_short_exponents_are_numbers(text, value):
    assert yaml_value(text) == value
    assert type(yaml_value(text)) is type(value)


def test_numbers_that_yaml_reads_stay_what_yaml_reads():
    for text in ("1", "1.0", "0x10", "1_000", "null", "on", "2026-01-01"):
        assert yaml_value(text) == yaml.safe_load(text)
