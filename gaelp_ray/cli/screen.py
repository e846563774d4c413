"""Where commands write: facts to stdout, everything else to stderr.

Texts are printed as they are: markup, highlighting and emoji codes are off, so that a name or a path cannot be taken
for one of them.
"""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from gaelp_ray.checkpoint import plain

UNBOUNDED = 10_000
"""Columns and rows of a console without limits."""

ASCII = {
    **dict.fromkeys("─━", "-"),
    **dict.fromkeys("├┤", "|"),
    **dict.fromkeys("╸╺", " "),
    **dict.fromkeys("▁▂▃", "."),
    **dict.fromkeys("▄▅▆", "="),
    **dict.fromkeys("▇█", "#"),
    **{"●": "o", "┊": ":", "…": "~", "±": "+-", "≥": ">=", "≤": "<="},
}
"""What stands for a character that the encoding of a stream lacks; `?` for all others."""

REPLACED = "gaelp_ray.ascii"


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(ASCII.get(character, "?") for character in error.object[error.start : error.end]), error.end


codecs.register_error(REPLACED, _replaced)


def replace_unencodable() -> None:
    """Let stdout and stderr replace the characters that their encoding lacks, as ASCII lacks `─`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=REPLACED)


def console(*, stderr: bool = False, bounded: bool = True) -> Console:
    """A console for plain texts. Without bounds, a table has all of its columns and rows."""
    size = None if bounded else UNBOUNDED
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=size, height=size)


def print_sentence(console: Console, text: Text | str, style: str = "") -> None:
    """One sentence, wrapped between words; if it names a command, not at all, so that it can be copied."""
    line = Text(text, style) if isinstance(text, str) else text
    console.print(line, soft_wrap="gaelp-ray " in line.plain)


# A pipe has no width and no height: sentences and tables are not wrapped for it.
out = console(bounded=sys.stdout.isatty())
err = console(stderr=True, bounded=sys.stderr.isatty())


def print_json(content: Any) -> None:
    """Strict JSON for other programs."""
    print(json.dumps(plain(content), indent=2, allow_nan=False))
