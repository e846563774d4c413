"""The decision that a resumed sweep replaces: read from the model it left in best/, compared with the new one.

A finished sweep that is resumed with more configurations or other rules decides again. If that selects another model,
the user must hear of it, above all where the new decision rests on fewer episodes than the one it replaces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_ray.checkpoint import DESCRIPTION


@dataclass(frozen=True)
class PreviousDecision:
    """What model.json says of an earlier decision. episodes: of its confirmation, for each arm."""

    trial: str
    weights: Mapping[str, Any]
    decision: str  # "winner" or "tie"
    episodes: int

    @classmethod
    def of(cls, best: Path) -> PreviousDecision | None:
        """From a sweep's best/ folder; None without a model, or one that says nothing of its selection."""
        try:
            about = json.loads((best / DESCRIPTION).read_text(encoding="utf-8"))["about"]
            selected = about["selected"]
            return cls(about["trial"], about["weights"], selected["decision"], int(selected["episodes"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # damaged or of an older version: it is being replaced

    def change(self, record: Mapping[str, Any], sweep: str) -> str:
        """What is different in `record` (selection.json's content); empty where the same model stays selected.

        `sweep`: its name as a command takes it.
        """
        winner, before = record["winner"], f"{self.trial} ({self.decision}, {self.episodes:,} episodes per arm)"
        if winner is None:
            return f"no model is selected any more; before: {before}"
        if (winner["trial"], dict(winner["weights"])) == (self.trial, dict(self.weights)):
            return ""
        now = f"{winner['trial']} ({record['decision']}, {record['episodes']:,} episodes per arm)"
        text = f"the selected model changed from {before} to {now}"
        if record["episodes"] < self.episodes:
            text += (
                f"; the earlier decision rests on more episodes: to decide with as many, run "
                f"`gaelp-ray resume {sweep} --set select.episodes={self.episodes}`"
            )
        return text
