"""A YAML file keeps the place of every key, and every complaint names its line and column."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gaelp_ray.errors import SweepFileError
from gaelp_ray.sweep.format.document import Problem, read_document, scan_document

TEXT = """\
# a comment, and a blank line

method: random
parameters:
  learning_rate: {min: 0.1, max: 0.2}
  agent_type:
    values:
      - PPO
      - BayesDual
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "my sweep.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(path: Path) -> list[str]:
    """What read_document() says against a file, without the file's name."""
    with pytest.raises(SweepFileError) as refused:
        read_document(path)
    assert all(str(path) in problem for problem in refused.value.problems)
    return [problem.replace(str(path), "FILE") for problem in refused.value.problems]


def test_data_are_those_of_the_file(write):
    assert read_document(write(TEXT)).data == yaml.safe_load(TEXT)


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ((), (1, 1)),
        (("method",), (3, 1)),
        (("parameters",), (4, 1)),
        (("parameters", "learning_rate"), (5, 3)),
        (("parameters", "learning_rate", "min"), (5, 19)),
        (("parameters", "learning_rate", "max"), (5, 29)),
        (("parameters", "agent_type", "values"), (7, 5)),
        (("parameters", "agent_type", "values", 0), (8, 9)),
        (("parameters", "agent_type", "values", 1), (9, 9)),
    ],
)
def test_every_key_has_its_line_and_column(write, key, place):
    assert read_document(write(TEXT)).marks[key] == place


def test_complaints_come_in_the_order_of_the_file(write):
    document = read_document(write(TEXT))
    problems = [
        Problem(("parameters", "agent_type", "values", 1), "last"),
        Problem(("parameters", "learning_rate", "max"), "third"),
        Problem(("method",), "first"),
        Problem(("parameters", "learning_rate", "min"), "second"),
    ]
    assert [line.removeprefix(document.where) for line in document.complain(problems).problems] == [
        ":3:1: method: first",
        ":5:19: parameters.learning_rate.min: second",
        ":5:29: parameters.learning_rate.max: third",
        ":9:9: parameters.agent_type.values.1: last",
    ]


def test_complaint_about_a_key_that_is_not_there_names_the_place_of_its_parent(write):
    document = read_document(write(TEXT))
    error = document.complain([Problem(("parameters", "learning_rate", "value", 3), "missing")])
    assert error.problems == (f"{document.where}:5:3: parameters.learning_rate.value.3: missing",)


def test_complaint_about_the_whole_file_names_no_key(write):
    document = read_document(write(TEXT))
    assert document.complain([Problem((), "too short")]).problems == (f"{document.where}:1:1: too short",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("method: random\nseed: 1\nmethod: grid\n", "FILE:3:1: method: the key stands twice, also in line 1"),
        (TEXT + "  learning_rate: {value: 1}\n", "FILE:10:3: parameters.learning_rate: the key stands twice"),
        ("a: {min: 1, max: 2, min: 3}\n", "FILE:1:21: a.min: the key stands twice, also in line 1"),
        ("a:\n  - {x: 1}\n  - {y: 1, y: 2}\n", "FILE:3:12: a.1.y: the key stands twice, also in line 3"),
    ],
)
def test_key_that_stands_twice_is_refused(write, text, complaint):
    (problem,) = refusal(write(text))
    assert problem.startswith(complaint)
    assert problem.endswith("keep one")


def test_key_that_stands_twice_with_children_is_one_problem_and_the_first_counts(write):
    path = write("a: {min: 1, max: {x: 2}}\na:\n  min: 3\n  max: {x: 4}\nb: 5\n6: 7\n")
    document = scan_document(path)
    assert document.data == {"a": {"min": 1, "max": {"x": 2}}, "b": 5}
    assert document.complain(document.problems).problems == (
        f"{path}:2:1: a: the key stands twice, also in line 1: keep one",
        f"{path}:6:1: 6: YAML reads this key as no text: put it in quotes",
    )


def test_a_key_under_another_name_keeps_its_place(write):
    document = read_document(write("a: 1\nb:\n  mn: {x: 2}\n")).renamed(("b", "mn"), "min")
    assert document.data == {"a": 1, "b": {"min": {"x": 2}}}
    assert document.marks[("b", "min")] == document.marks[("b", "mn")] == (3, 3)
    assert document.marks[("b", "min", "x")] == (3, 8)
    assert document.without(("b", "min")).data == {"a": 1, "b": {}}
    assert document.with_value(("b", "min"), 5).data == {"a": 1, "b": {"min": 5}}


def test_every_key_that_stands_twice_is_named(write):
    problems = refusal(write("a: 1\nb: 1\nb: 2\na: 2\n"))
    assert [problem.split(": the")[0] for problem in problems] == ["FILE:3:1: b", "FILE:4:1: a"]


def test_same_key_in_two_mappings_is_fine(write):
    assert read_document(write("a: {min: 1}\nb: {min: 2}\n")).data == {"a": {"min": 1}, "b": {"min": 2}}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("method: random\n\trun_cap: 2\n", "2:1"),
        ("method: random\nvalues: [1, 2\n", "3:1"),
        ("method: random\n  seed: 1\n", "2:7"),
        ('name: "a\\q"\n', "1:10"),
        ("a: 1\nmethod: *nowhere\n", "2:9"),
        ("a: 1\n---\nb: 2\n", "2:1"),
        ("a: 1\n? [x, y]\n: 3\n", "2:3"),
        ("a: !!python/object/apply:os.getcwd []\n", "1:4"),
    ],
)
def test_syntax_error_has_line_and_column(write, text, place):
    (problem,) = refusal(write(text))
    assert problem.startswith(f"FILE:{place}: not valid YAML: ")
    assert "\n" not in problem


@pytest.mark.parametrize("text", ["", "# only a comment\n", "~\n", "just text\n", "- a\n- list\n", "5\n"])
def test_file_that_is_no_mapping_is_refused(write, text):
    (problem,) = refusal(write(text))
    assert problem == "FILE:1:1: a sweep file is a mapping of keys (method, parameters, ...)"


def test_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "nowhere.yaml") == ["cannot read the sweep file FILE: No such file or directory"]


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    assert refusal(tmp_path) == ["cannot read the sweep file FILE: Is a directory"]


def test_file_that_is_not_utf8_is_refused(write):
    assert refusal(write("name: café\n".encode("latin-1"))) == ["cannot read the sweep file FILE: it is not UTF-8 text"]


def test_merged_keys_count_as_written_where_they_were_merged(write):
    document = read_document(write("a: &one {min: 1, max: 2}\nb:\n  <<: *one\n  max: 3\n"))
    assert document.data["b"] == {"min": 1, "max": 3}
    assert document.complain([Problem(("b", "min"), "low")]).problems[0].startswith(f"{document.where}:2:1: b.min")


def test_variables_are_replaced_everywhere_but_in_wandbs_own_keys(write, monkeypatch):
    monkeypatch.setenv("RUNS", "12")
    text = (
        "run_cap: ${RUNS}\ntags: ['a-${RUNS}', '$${RUNS}']\na: {job: '${RUNS}'}\n"
        "command: ['${env}', '${program}']\nprogram: ${RUNS}.py\n"
    )
    assert read_document(write(text)).data == {
        "run_cap": 12,
        "tags": ["a-12", "${RUNS}"],
        "command": ["${env}", "${program}"],
        "program": "${RUNS}.py",
        "a": {"job": 12},
    }


def test_every_variable_that_is_not_set_is_named_with_its_place(write, monkeypatch):
    monkeypatch.delenv("GAELP_NOT_SET", raising=False)
    text = "a: ${GAELP_NOT_SET}\nb: {c: [1, 'x${GAELP_NOT_SET}']}\nd: ${1}\ne: ${GAELP_NOT_SET:-5}\n"
    unset = "the environment variable GAELP_NOT_SET is not set: set it, or write ${GAELP_NOT_SET:-a default}"
    assert refusal(write(text)) == [
        f"FILE:1:1: a: {unset}",
        f"FILE:2:12: b.c.1: {unset}",
        "FILE:3:1: d: write ${NAME} or ${NAME:-default}; for the characters themselves, $${",
    ]


NAMES = st.from_regex(r"k[a-z0-9_.]{0,8}", fullmatch=True)
TREES = st.recursive(
    st.integers() | st.booleans(), lambda inner: st.dictionaries(NAMES, inner, min_size=1), max_leaves=8
)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(tree=st.dictionaries(NAMES, TREES, min_size=1), flow=st.booleans())
def test_place_of_a_key_is_where_it_is_written(tmp_path_factory, tree, flow):
    path = tmp_path_factory.mktemp("documents") / "sweep.yaml"
    path.write_text(yaml.safe_dump(tree, default_flow_style=flow), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").splitlines()
    for key, (line, column) in read_document(path).marks.items():
        if key:
            assert lines[line - 1][column - 1 :].startswith(str(key[-1]))
