"""JSON Schema of sweep files, generated from the models; the copy beside this module is for editors.

    gaelp-ray schema > gaelp_ray/sweep/format/sweep.schema.json

Where the text of a file may stand for a value that is no text, it may be a reference such as `${RUNS}`.
"""

from __future__ import annotations

import json
from typing import Any

from gaelp_ray.sweep.format.blocks import LAUNCHER_SCHEDULER
from gaelp_ray.sweep.format.document import LAUNCHER_KEYS
from gaelp_ray.sweep.format.parameters import KEYS
from gaelp_ray.sweep.format.spec import SweepSpec

REFERENCE = {"type": "string", "pattern": r"\$\{", "description": "from the environment: ${NAME} or ${NAME:-default}"}
LAUNCHERS = {"description": "of W&B's launcher; unused here"}
SIMPLE = ("integer", "number", "boolean")


def schema_text() -> str:
    """The schema as its file has it."""
    return json.dumps(sweep_schema(), indent=2, ensure_ascii=False) + "\n"


def sweep_schema() -> dict[str, Any]:
    """What load_sweep() accepts, as far as a schema can say it."""
    schema = SweepSpec.model_json_schema()
    definitions = schema["$defs"]
    parameter = definitions["ParameterSpec"]
    parameter["properties"] = {key: _required(value) for key, value in parameter["properties"].items()}
    parameter["oneOf"] = list(_forms())
    definitions["Reference"] = REFERENCE
    for model in (schema, *definitions.values()):
        for key, value in model.get("properties", {}).items():
            plain = {word: inner for word, inner in value.items() if word != "title"}
            model["properties"][key] = _or_reference(plain)
    schema["required"] = ["method", "parameters"]  # a file without a name has its own
    schema["properties"]["scheduler"] = {"anyOf": [schema["properties"]["scheduler"], _launchers_scheduler()]}
    schema["properties"] |= {key: LAUNCHERS for key in sorted(LAUNCHER_KEYS)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "gaelp-ray sweep file"}


def _required(value: dict[str, Any]) -> dict[str, Any]:
    """Without the null and the default that stand for a key which is left out."""
    plain = {key: inner for key, inner in value.items() if key != "default"}
    options = [option for option in plain.pop("anyOf", []) if option != {"type": "null"}]
    return {**options[0], **plain} if len(options) == 1 else plain


def _forms() -> list[dict[str, Any]]:
    """One form for each distribution, and those in which it is inferred."""
    forms = [_form({"parameters"}), _form({"value"}), _form({"values"}, {"probabilities"}), _form({"min", "max"})]
    for name, (needed, optional) in KEYS.items():
        form = _form({*needed, "distribution"}, set(optional))
        form["properties"]["distribution"] = {"const": name}
        forms.append(form)
    return forms


def _form(needed: set[str], optional: set[str] | None = None) -> dict[str, Any]:
    allowed = sorted(needed | (optional or set()))
    return {"required": sorted(needed), "properties": dict.fromkeys(allowed, True), "additionalProperties": False}


def _launchers_scheduler() -> dict[str, Any]:
    return {
        **LAUNCHERS,
        "type": "object",
        "not": {"required": ["type"]},
        "anyOf": [{"required": [key]} for key in sorted(LAUNCHER_SCHEDULER)],
    }


def _or_reference(value: dict[str, Any]) -> dict[str, Any]:
    """A reference may stand wherever a string could not."""
    if value.get("type") in SIMPLE or "enum" in value or "const" in value:
        described = {key: inner for key, inner in value.items() if key in ("default", "description")}
        rest = {key: inner for key, inner in value.items() if key not in described}
        return {"anyOf": [rest, {"$ref": "#/$defs/Reference"}]} | described
    kinds = [option.get("type") for option in value.get("anyOf", ())]
    if "string" not in kinds and set(SIMPLE) & set(kinds):
        return {**value, "anyOf": [*value["anyOf"], {"$ref": "#/$defs/Reference"}]}
    return value
