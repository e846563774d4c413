"""The learning curve as a picture: reward, ROAS and optimality, each with its moving average and reference lines."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gaelp_ray.tracking.curve import PANELS, Line, Reference, Rows, lines

LABELS = {"reward": "reward", "roas": "ROAS", "optimality": "optimality"}
COLOURS = ("tab:orange", "tab:green", "tab:purple", "tab:brown")


def learning_picture(episodes: Rows, reference: Mapping[str, Reference], title: str) -> bytes:
    """A PNG of the rows of episodes. Panels without a number are left out."""
    drawn = {name: lines(episodes, key, reference) for name, key in PANELS.items()}
    panels = {name: found for name, found in drawn.items() if found}
    figure = Figure(figsize=(9.0, 1.0 + 2.6 * max(len(panels), 1)), layout="constrained")
    for place, (name, found) in enumerate(panels.items(), start=1):
        panel = figure.add_subplot(len(panels), 1, place)
        _draw(panel, found)
        panel.set_ylabel(LABELS[name])
        if place == len(panels):
            panel.set_xlabel("episode")
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _draw(panel: Axes, found: Mapping[str, Line]) -> None:
    single, average, *references = found
    panel.plot(*found[single], ".", color="0.7", markersize=4, label=single)
    panel.plot(*found[average], color="tab:blue", linewidth=2, label=average)
    for name, colour in zip(references, COLOURS * len(references), strict=False):
        panel.plot(*found[name], "--", color=colour, linewidth=1.5, label=name)
    shown = [
        *np.quantile(found[single][1], (0.02, 0.98)),
        *(y for name in (average, *references) for y in found[name][1]),
    ]
    room = 0.05 * (max(shown) - min(shown)) or 0.5
    panel.set_ylim(min(shown) - room, max(shown) + room)  # not of the luckiest single flights
    panel.grid(alpha=0.3)
    panel.legend(loc="best", framealpha=0.8)
