"""Secrets in the text of a file: the launcher writes all of it to logs, and to temporary files, on several machines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gaelp_ray.cluster.file import ENV_FILE, ClusterFile, Finding

REMEDY = f"write it to {ENV_FILE} (mode 0600), which file_mounts sends, and make a new one: this one has been in a file"

FORMS = {
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----": "a private key",
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b": "an AWS access key",
    r"\bwandb_v1_\w{8,}": "a W&B key",
    r"\blocal-[0-9a-f]{40}\b": "a W&B key",
    r"(?<![\w@/.+-])[0-9a-f]{40}(?![\w/.-])": "40 hexadecimal digits, as a W&B key has",
    r"\bgh[pousr]_[A-Za-z0-9]{36}\b": "a GitHub token",
    r"://[^/\s:@$]+:[^/\s@$]+@": "a password in an address",
}
"""What secrets look like wherever they stand. A commit behind `@` or `/` is none."""

NAMES = re.compile(
    r"(?i)\b(?P<name>\w*(?:API_KEY|ACCESS_KEY|SECRET_KEY|SESSION_TOKEN|AUTH_TOKEN|HF_TOKEN|GITHUB_TOKEN|PASSWORD|PASSWD))"
    r"[\"']?\s*[:=]\s*[\"']?(?P<value>[^\s\"';$~/][^\s\"';$]*)"
)
"""What secrets are called, with a value that is no variable."""


def leak_findings(file: ClusterFile) -> Iterator[Finding]:
    """One finding for each line that holds a secret; never the secret."""
    for number, line in enumerate(file.text.splitlines(), 1):
        if kind := secret_in(line):
            yield Finding((), f"{kind} stands here", REMEDY, line=number)
    for key in ("aws_credentials", "gcp_credentials"):
        if file.get("provider", key):
            what = "credentials stand here"
            yield Finding(
                ("provider", key), what, "leave it out: your cloud's own files and roles are found without it"
            )


def secret_in(line: str) -> str:
    """What kind of secret a line holds; empty for none."""
    for form, kind in FORMS.items():
        if re.search(form, line):
            return kind
    named = NAMES.search(line)
    return f"a value of {named['name']}" if named else ""
