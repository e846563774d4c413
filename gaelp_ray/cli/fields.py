"""Every field of a trial for a person: what it means, its default, what is allowed, and which agents read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from gaelp_ray.agents import agent_types
from gaelp_ray.agents.registry import agent_reads
from gaelp_ray.cli.columns import Column, print_table, width_of
from gaelp_ray.config import RECORDED, GAELPExperimentConfig
from gaelp_ray.errors import InputError, did_you_mean


def field_facts(section: str | None = None) -> list[dict[str, Any]]:
    """One record per field, in the order of the configuration; of one section, or of one agent, if it is named.

    Raises InputError for a name that is neither.
    """
    facts = list(_facts(GAELPExperimentConfig, ""))
    if section is None:
        return facts
    if section in agent_types():
        return [fact for fact in facts if section in fact["agents"]]
    sections = {fact["field"].partition(".")[0] for fact in facts if "." in fact["field"]}
    if section not in sections:
        raise InputError(f"no section or agent {section!r}. {did_you_mean(section, {*sections, *agent_types()})}")
    return [fact for fact in facts if fact["field"].startswith(f"{section}.")]


def _facts(model: type[BaseModel], prefix: str) -> Iterator[dict[str, Any]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _facts(field.annotation, f"{name}.")
            continue
        if name in RECORDED:
            continue
        schema = model.model_json_schema()["properties"][name]
        yield {
            "field": prefix + name,
            "default": field.default,
            "allowed": _allowed(schema),
            "meaning": field.description or "",
            "agents": _readers(prefix + name),
        }


def _readers(name: str) -> list[str]:
    reads = {agent: agent_reads(GAELPExperimentConfig(agent_type=agent)) for agent in agent_types()}
    # A field that only another field's value switches on is read all the same.
    return [agent for agent, read in reads.items() if read.applies(name) or name in dict(read.off)]


def _allowed(schema: dict[str, Any]) -> str:
    """Bounds or choices of a field from its JSON schema."""
    choices = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    (option,) = choices
    if "enum" in option:
        return ", ".join(map(str, option["enum"]))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = " ".join(f"{sign} {option[key]:g}" for key, sign in signs.items() if key in option)
    return f"{option['type']} {bounds}".strip()


def print_fields(facts: Sequence[dict[str, Any]], console: Console) -> None:
    """A line for each field where the terminal is wide enough, else a paragraph.

    Agents are named where not all of them read a field.
    """
    columns: list[Column[dict[str, Any]]] = [
        Column("field", lambda fact: str(fact["field"])),
        Column("default", lambda fact: str(fact["default"])),
        Column("allowed", lambda fact: str(fact["allowed"])),
        Column("meaning", lambda fact: str(fact["meaning"])),
        Column("read by", _not_all, 1),
    ]
    if width_of(columns, facts) <= console.width:
        print_table(console, columns, facts)
    else:
        _print_paragraphs(facts, console)


def _print_paragraphs(facts: Sequence[dict[str, Any]], console: Console) -> None:
    for fact in facts:
        console.print(Text.assemble((fact["field"], "bold"), f" = {fact['default']}"), soft_wrap=True)
        readers = _not_all(fact)
        for text in (f"{fact['meaning']} ({fact['allowed']})", *([f"read by {readers}"] if readers else [])):
            console.print(Padding(Text(text), (0, 0, 0, 4), expand=False))


def _not_all(fact: Mapping[str, Any]) -> str:
    return "" if len(fact["agents"]) == len(agent_types()) else ", ".join(fact["agents"])
