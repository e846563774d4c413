"""A run as it should be in W&B, from a sweep's own record, and whether what W&B holds is that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaelp_ray.tracking.runs import Row, RunIdentity


@dataclass(frozen=True)
class RunRecord:
    """One run: `summary` includes `status` (finished, stopped, failed, interrupted) and `reason`.

    Where several rows have the same step, as after a restart, the last one counts.
    """

    identity: RunIdentity
    config: Mapping[str, Any]
    rows: Sequence[Row]
    summary: Mapping[str, Any]
    exit_code: int

    @property
    def history(self) -> list[Row]:
        """Every step once, in order."""
        by_step = {row.step: row for row in self.rows}
        return [by_step[step] for step in sorted(by_step)]

    @property
    def told(self) -> dict[str, Any]:
        """The summary, whose reason is empty where there is none: it replaces that of an earlier end."""
        return {"reason": "", **self.summary}


def holds(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether W&B's values include all that are wanted."""
    return all(same(held.get(name), value) for name, value in wanted.items())


def same(held: Any, wanted: Any) -> bool:
    """Whether a value is what was logged, as far as W&B tells: of NaN, None and {} it keeps now this, now nothing."""
    if isinstance(wanted, (int, float, str)) and held == wanted:
        return True
    if _nothing(wanted):
        return _nothing(held)
    if isinstance(wanted, Mapping):
        names = {str(name): value for name, value in wanted.items()}
        return isinstance(held, Mapping) and holds(held, names) and all(map(_nothing, _others(held, names)))
    if isinstance(wanted, (list, tuple)):
        return isinstance(held, list) and len(held) == len(wanted) and all(map(same, held, wanted))
    if isinstance(wanted, float) and math.isinf(wanted):
        return bool(held == ("Infinity" if wanted > 0 else "-Infinity"))
    return False


def _nothing(value: Any) -> bool:
    return value in (None, {}, "NaN") or (isinstance(value, float) and math.isnan(value))


def _others(held: Mapping[str, Any], names: Mapping[str, Any]) -> list[Any]:
    return [value for name, value in held.items() if name not in names]
