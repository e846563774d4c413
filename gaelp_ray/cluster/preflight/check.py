"""Everything that can be known about a launcher file before `ray up`, all at once. Start at check_cluster()."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.cluster.file import ClusterFile, Finding, read_cluster_file
from gaelp_ray.cluster.preflight.access import access_findings
from gaelp_ray.cluster.preflight.launcher import refusal, schema_findings
from gaelp_ray.cluster.preflight.leaks import leak_findings
from gaelp_ray.cluster.preflight.nodes import address_findings, placeholder_findings, type_findings
from gaelp_ray.cluster.preflight.shipping import mount_findings
from gaelp_ray.cluster.preflight.starting import environment_findings, start_findings, token_findings
from gaelp_ray.cluster.preflight.storage import storage_findings
from gaelp_ray.cluster.preflight.versions import version_findings, wheel_findings

RULES: tuple[Callable[[ClusterFile], Iterator[Finding]], ...] = (
    schema_findings,
    placeholder_findings,
    access_findings,
    address_findings,
    type_findings,
    mount_findings,
    start_findings,
    token_findings,
    environment_findings,
    version_findings,
    wheel_findings,
    leak_findings,
)
"""Each looks at the whole file by itself, and none minds what another one complains about."""


@dataclass(frozen=True)
class Placed:
    """A finding with its place."""

    line: int
    column: int
    key: str
    what: str
    remedy: str
    warning: bool


@dataclass(frozen=True)
class Report:
    """What was found, in the order of the file."""

    file: ClusterFile
    findings: tuple[Placed, ...]

    @property
    def errors(self) -> list[str]:
        """What keeps the cluster from coming up, one line each."""
        return [self._line(found) for found in self.findings if not found.warning]

    @property
    def warnings(self) -> list[str]:
        """What may be meant so, one line each."""
        return [self._line(found) for found in self.findings if found.warning]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        problems = [{"severity": "warning" if found.warning else "error", **vars(found)} for found in self.findings]
        for problem in problems:
            del problem["warning"]
        return {"file": self.file.where, "ok": not self.errors, "problems": problems}

    def _line(self, found: Placed) -> str:
        key = f"{found.key}: " if found.key else ""
        remedy = found.remedy[0].upper() + found.remedy[1:]
        return f"{self.file.where}:{found.line}:{found.column}: {key}{found.what}. {remedy}"


def check_cluster(path: Path, storage: str | None = None) -> Report:
    """Read a launcher file and say all that is wrong with it; nothing is started, and no network is used.

    storage: where sweeps are to lie, if that is to be checked, too. Raises ClusterFileError for what is no such file.
    """
    file = read_cluster_file(path)
    found = [finding for rule in RULES for finding in rule(file)]
    found += storage_findings(file, storage)
    if all(finding.warning for finding in found) and (reason := refusal(file)):
        found.append(Finding((), f"Ray refuses the file: {reason}", "mend it"))
    return Report(file, placed(file, found))


def placed(file: ClusterFile, findings: list[Finding]) -> tuple[Placed, ...]:
    """Findings with their places, in the order of the file."""
    located = [(file.place(finding), finding) for finding in dict.fromkeys(findings)]
    return tuple(
        Placed(line, column, ".".join(map(str, found.path)), found.what, found.remedy, found.warning)
        for (line, column), found in sorted(located, key=lambda pair: pair[0])
    )
