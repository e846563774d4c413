"""Ray's own checks of a launcher file, and the one place that knows its private names (Ray 2.60).

Ray asks them one by one and stops at the first; here all of its schema's complaints come at once, in a person's words.
"""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from gaelp_ray.cluster.file import ClusterFile, Finding
from gaelp_ray.errors import did_you_mean
from gaelp_ray.sweep.format.document import KeyPath

WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
    "object": "a mapping of keys",
    "boolean": "true or false",
}

BEYOND_SCHEMA = {"min_workers", "head_node", "worker_nodes"}
"""Keys of older files, which Ray rewrites before it asks its schema."""

LONGEST = 200
"""Of a list of all keys that may stand somewhere."""

PROVIDER_KEYS = {
    *("head_ip", "worker_ips", "external_head_ip", "coordinator_address", "use_internal_ips", "use_external_head_ip"),
    *("aws_credentials", "key_pair"),
}
"""Keys of `provider` that Ray reads and its schema does not list."""


@cache
def schema() -> dict[str, Any]:
    """The JSON schema that Ray ships."""
    from ray import autoscaler

    content: dict[str, Any] = json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text("utf-8"))
    return content


def provider_types() -> list[str]:
    """What Ray knows as `provider.type`, but for its own tests."""
    from ray.autoscaler._private.providers import _NODE_PROVIDERS

    return [name for name in _NODE_PROVIDERS if not name.startswith(("fake", "readonly"))]


def schema_findings(file: ClusterFile) -> Iterator[Finding]:
    """Keys that Ray does not know, values of a wrong type, and what is missing."""
    from jsonschema import Draft7Validator

    data = {key: value for key, value in file.document.data.items() if key not in BEYOND_SCHEMA}
    for error in Draft7Validator(schema()).iter_errors(data):
        path: KeyPath = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            known = error.schema.get("properties", {})
            for key in error.instance.keys() - known.keys():
                yield _unknown((*path, key), key, known)
        elif error.validator == "required":
            missing = re.match("'(.+)' is a required", error.message)
            yield Finding(path, f"the key {missing[1] if missing else '?'} is missing", "add it")
        else:
            yield Finding(path, *_in_words(error))
    yield from _provider_findings(file)


def _provider_findings(file: ClusterFile) -> Iterator[Finding]:
    """The schema takes any key of the provider's, and any type."""
    types = provider_types()
    if file.provider and file.provider not in types:
        yield Finding(("provider", "type"), f"unknown provider {file.provider!r}", did_you_mean(file.provider, types))
    known = PROVIDER_KEYS | schema()["properties"]["provider"]["properties"].keys()
    for key in file.mapping("provider"):
        if key not in known:
            meant = did_you_mean(key, known)
            if file.provider == "local" or meant.startswith("Did"):
                yield Finding(("provider", key), "unknown key", meant)


def _unknown(path: KeyPath, key: str, known: Any) -> Finding:
    meant = did_you_mean(key, [*known, *(BEYOND_SCHEMA if len(path) == 1 else ())])
    return Finding(path, "unknown key", meant if len(meant) < LONGEST else "Ray's launcher has none like it: remove it")


def _in_words(error: Any) -> tuple[str, str]:
    shown = json.dumps(error.instance, default=str)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    wanted = error.validator_value
    if error.validator == "type":
        words = " or ".join(WORDS.get(kind, kind) for kind in ([wanted] if isinstance(wanted, str) else wanted))
        return f"{shown} is not {words}", f"write {words}"
    if error.validator == "minimum":
        return f"{shown} is too small", f"write {wanted} or more"
    if error.validator == "enum":
        return f"{shown} is not known", f"write one of {', '.join(map(str, wanted))}"
    return f"{shown}: {error.message}" if shown not in error.message else error.message, "mend it"


def refusal(file: ClusterFile) -> str:
    """Why Ray itself would refuse the file, in one line; empty where it takes it. Starts nothing, asks no cloud."""
    import click
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            validate_config(prepare_config(copy.deepcopy(dict(file.document.data))))
    except ValidationError as error:
        return str(error.message)
    except click.ClickException as error:  # also for what has been printed
        printed = re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue()).strip()
        return printed.splitlines()[-1] if printed else error.format_message()
    except (ValueError, RuntimeError, LookupError, AssertionError, TypeError, AttributeError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        return f"KeyError: {first}" if isinstance(error, KeyError) else first
    return ""
