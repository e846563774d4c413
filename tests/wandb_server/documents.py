"""GraphQL without a schema: a document asks for fields, nested dicts answer.

A node is a dict; what it holds under a field's name is a plain value, a node, a list of nodes, a Link, or a function of
the field's arguments that returns one of these. A field that a node lacks is null, and noted, so that a client that
asks for something new is seen. Start at Document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    parse,
    value_from_ast_untyped,
)

Node = dict[str, Any]
BEHIND_INTERFACES = ("Run", "User", "ArtifactSequence", "ArtifactPortfolio")


@dataclass(frozen=True)
class Link:
    """A node that is looked up when a document asks for it: by its kind and what it is found by."""

    kind: str
    key: tuple[str, ...]

    @classmethod
    def to(cls, kind: str, *key: str) -> Link:
        """The link to a kind's node: Link.to("Run", "team/demo/r1")."""
        return cls(kind, key)


@dataclass(frozen=True)
class Schema:
    """Where documents begin, and what Links lead to; `unknown` gathers the fields that no node had."""

    roots: Mapping[str, Node]
    kinds: Mapping[str, Callable[..., Node | None]]
    unknown: set[str]


@dataclass(frozen=True)
class Document:
    """A parsed document with one operation."""

    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]

    @classmethod
    @lru_cache(256)
    def parse(cls, text: str) -> Document:
        """Raises graphql.GraphQLError."""
        nodes = parse(text, no_location=True).definitions
        operations = [node for node in nodes if isinstance(node, OperationDefinitionNode)]
        if len(operations) != 1:
            raise GraphQLError(f"a document has one operation here, this one {len(operations)}")
        fragments = {node.name.value: node for node in nodes if isinstance(node, FragmentDefinitionNode)}
        return cls(operations[0], fragments)

    @cached_property
    def name(self) -> str:
        """The operation's name, or `query` or `mutation`."""
        return self.operation.name.value if self.operation.name else self.operation.operation.value

    def answer(self, schema: Schema, variables: Mapping[str, Any]) -> Node:
        """What the document asks for."""
        defaults = {
            definition.variable.name.value: value_from_ast_untyped(definition.default_value)
            for definition in self.operation.variable_definitions or ()
            if definition.default_value
        }
        asked = _Asked(schema, self.fragments, {**defaults, **variables})
        return asked.of(schema.roots[self.operation.operation.value], self.operation.selection_set)


@dataclass(frozen=True)
class _Asked:
    """A document in the middle of being answered."""

    schema: Schema
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: dict[str, Any]

    def of(self, node: Node, selected: SelectionSetNode) -> Node:
        answer: Node = {}
        for selection in selected.selections:
            if self._included(selection.directives or ()):
                _merge(answer, self._part(node, selection))
        return answer

    def _included(self, directives: Iterable[DirectiveNode]) -> bool:
        return all(self._value((d.arguments or ())[0]) == (d.name.value == "include") for d in directives)

    def _part(self, node: Node, selection: SelectionNode) -> Node:
        if isinstance(selection, FieldNode):
            return {selection.alias.value if selection.alias else selection.name.value: self._field(node, selection)}
        fragment = self.fragments[selection.name.value] if isinstance(selection, FragmentSpreadNode) else selection
        assert isinstance(fragment, FragmentDefinitionNode | InlineFragmentNode)
        on = fragment.type_condition.name.value if fragment.type_condition else None
        # A condition that is no concrete type names an interface, and every node here is what it is asked to be.
        fits = on not in BEHIND_INTERFACES or on == node.get("__typename")
        return self.of(node, fragment.selection_set) if fits else {}

    def _field(self, node: Node, field: FieldNode) -> Any:
        name = field.name.value
        if name not in node:
            self.schema.unknown.add(f"{node.get('__typename', '?')}.{name}")
        found = node.get(name)
        if callable(found):
            given = {argument.name.value: self._value(argument) for argument in field.arguments or ()}
            found = found({name: value for name, value in given.items() if value is not None})
        return self._below(found, field.selection_set)

    def _below(self, found: Any, selected: SelectionSetNode | None) -> Any:
        if isinstance(found, list):
            return [self._below(one, selected) for one in found]
        if isinstance(found, Link):
            found = self.schema.kinds[found.kind](*found.key)
        return found if found is None or selected is None else self.of(found, selected)

    def _value(self, argument: Any) -> Any:
        return value_from_ast_untyped(argument.value, self.variables)


def _merge(into: Node, new: Node) -> None:
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def page(
    items: Iterable[Any], arguments: Mapping[str, Any], view: Callable[[Any], Any], **edge: Callable[[Any], Any]
) -> Node:
    """A GraphQL connection, of which the cursor is an offset; `edge` are further fields of each edge."""
    everything = list(items)
    start = int(arguments.get("after") or 0)
    end = start + int(arguments.get("first") or len(everything))
    edges = [
        {"node": view(item), "cursor": str(number), **{name: of(item) for name, of in edge.items()}}
        for number, item in enumerate(everything[start:end], start + 1)
    ]
    more = {"__typename": "PageInfo", "endCursor": str(start + len(edges)), "hasNextPage": end < len(everything)}
    return {"__typename": "Connection", "totalCount": len(everything), "pageInfo": more, "edges": edges}
