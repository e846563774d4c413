"""Run all faults, or those whose names are given; print the table, and write it into docs/reliability.md if all ran."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests")]

from reliability import damage, disks, dying, keys, neighbours, report, searchers, servers, trials  # noqa: E402
from reliability.faults import Finding, faults_of  # noqa: E402
from reliability.stage import Stage  # noqa: E402

MODULES = (dying, neighbours, searchers, trials, damage, disks, servers, keys)


def main() -> int:
    wanted = sys.argv[1:]
    known = [fault for module in MODULES for fault in faults_of(module)]
    chosen = [fault for fault in known if not wanted or fault.name in wanted]
    findings: dict[str, Finding] = {}
    with Stage() as stage:
        for fault in chosen:
            findings[fault.name] = found = fault.found(stage)
            print(report.line(fault, found), flush=True)
            for problem in found.problems:
                print(f"    {problem}", flush=True)
    if not wanted:
        (ROOT / "docs" / "reliability.md").write_text(report.page(known, findings), encoding="utf-8")
    return int(any(found.problems for found in findings.values()))


if __name__ == "__main__":
    sys.exit(main())
