"""A sweep file as it is sent: every `${VAR}` is what it is here, and no secret goes along."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from gaelp_ray.cluster.file import ENV_FILE
from gaelp_ray.cluster.preflight.leaks import secret_in
from gaelp_ray.errors import InputError
from gaelp_ray.sweep.format.document import LAUNCHER_KEYS, read_document
from gaelp_ray.sweep.format.interpolation import REFERENCE, escaped

REMEDY = f"what is secret belongs into {ENV_FILE}, which the nodes read, and not into what is sent"


def sent_text(path: Path, settings: Sequence[str] = ()) -> str:
    """The sweep file for the head, as written where it refers to nothing of this machine.

    settings: what --set says beside it. Raises InputError for a secret in any of it; never repeats it.
    """
    written = path.read_text(encoding="utf-8")
    text = written
    if "${" in written:
        data = read_document(path).data
        meant = {key: value if key in LAUNCHER_KEYS else escaped(value) for key, value in data.items()}
        text = yaml.safe_dump(meant, sort_keys=False, allow_unicode=True)
    for name in sorted({match[1] for match in REFERENCE.finditer(written) if match[1]}):
        value = os.environ.get(name)
        if value and value in text and (kind := secret_in(f"{name}={value}")):
            raise InputError(f"{path}: ${{{name}}} is {kind}: {REMEDY}")
    for number, line in enumerate(text.splitlines(), 1):
        if kind := secret_in(line):
            where = f"{path}:{number}" if text == written else str(path)
            raise InputError(f"{where}: {kind} stands here: {REMEDY}")
    for setting in settings:
        if kind := secret_in(setting):
            raise InputError(f"--set {setting.partition('=')[0]}: {kind} stands here: {REMEDY}")
    return text
