"""`gaelp-ray schema`: the format of sweep files, for editors."""

from __future__ import annotations

from gaelp_ray.sweep.format.schema import schema_text


def schema() -> None:
    """Print the JSON Schema of sweep files, with which editors complete and check them."""
    print(schema_text(), end="")
