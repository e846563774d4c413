"""Documents are answered from nested dicts."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLError

from wandb_server.documents import Document, Link, Node, Schema, page

R1: Node = {"__typename": "Run", "name": "r1", "tags": ["a"], "friend": Link.to("Run", "r2")}
RUNS: dict[str, Node] = {"r1": R1, "r2": {"name": "r2"}}


def run(name: str) -> Node | None:
    return RUNS.get(name)


def answer(text: str, **variables: Any) -> tuple[Node, set[str]]:
    root = {
        "__typename": "Query",
        "run": lambda asked: Link.to("Run", asked["name"]),
        "echo": dict,
        "runs": lambda asked: page(["r1", "r2"], asked, lambda name: Link.to("Run", name)),
    }
    schema = Schema({"query": root}, {"Run": run}, set())
    return Document.parse(text).answer(schema, variables), schema.unknown


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ('{ a: run(name: "r1") { name tags } }', {}, {"a": {"name": "r1", "tags": ["a"]}}),
        ('{ run(name: "r1") { friend { name } } }', {}, {"run": {"friend": {"name": "r2"}}}),
        ('{ run(name: "none") { name } }', {}, {"run": None}),
        ("query Q($n: String = \"r2\") { run(name: $n) { name } }", {}, {"run": {"name": "r2"}}),
        ("query Q($n: String = \"r2\") { run(name: $n) { name } }", {"n": "r1"}, {"run": {"name": "r1"}}),
        ("query Q($x: Int) { echo(a: $x, b: 2) }", {"x": None}, {"echo": {"b": 2}}),
        ("query Q($y: Boolean!) { echo(a: 1) @skip(if: $y) }", {"y": True}, {}),
        ("query Q($y: Boolean!) { echo(a: 1) @include(if: $y) }", {"y": True}, {"echo": {"a": 1}}),
        ('{ run(name: "r1") { ...F } } fragment F on Run { name }', {}, {"run": {"name": "r1"}}),
        ('{ run(name: "r1") { ... on User { name } ... on Face { tags } } }', {}, {"run": {"tags": ["a"]}}),
        ('{ run(name: "r1") { friend { name } ...F } } fragment F on Run { friend { n: name } }', {},
         {"run": {"friend": {"name": "r2", "n": "r2"}}}),
    ],
)  # fmt: skip
def test_answers(text: str, variables: dict[str, Any], expected: Node) -> None:
    assert answer(text, **variables) == (expected, set())


def test_a_field_that_is_not_there_is_null_and_noted() -> None:
    assert answer('{ run(name: "r1") { name age } }') == ({"run": {"name": "r1", "age": None}}, {"Run.age"})


def test_pages_follow_each_other() -> None:
    text = "query Q($after: String) { runs(first: 1, after: $after) { totalCount edges { node { name } } pageInfo { endCursor hasNextPage } } }"  # noqa: E501
    first, _ = answer(text)
    assert first["runs"] == {
        "totalCount": 2,
        "edges": [{"node": {"name": "r1"}}],
        "pageInfo": {"endCursor": "1", "hasNextPage": True},
    }
    second, _ = answer(text, after="1")
    assert (second["runs"]["edges"], second["runs"]["pageInfo"]["hasNextPage"]) == ([{"node": {"name": "r2"}}], False)


@pytest.mark.parametrize("text", ["{ run(", "query A { a } query B { b }"])
def test_what_is_no_document(text: str) -> None:
    with pytest.raises(GraphQLError):
        Document.parse(text)
