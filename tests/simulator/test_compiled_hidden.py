"""What C draws of a flight's truth has the bits of numpy."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from gaelp_ray.core import library
from gaelp_ray.market import load_market
from gaelp_ray.market.stream import Cells
from gaelp_ray.simulator import hidden
from gaelp_ray.simulator.hidden import MAX_CONVERSION_RATE, Hidden, draw_hidden

LANDSCAPE = load_market("airfrance-search").landscape


def arrays_of(truth):
    return {field.name: getattr(truth, field.name) for field in fields(Hidden) if field.name != "landscape"}


@pytest.mark.parametrize("flights", [1, 75, 200])
@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_truth_of_flights(libraries, monkeypatch, flights, drift):
    landscape = replace(LANDSCAPE, conversion_rate_drift=drift)
    numbers = np.random.default_rng(1).integers(0, 2**32, flights)
    cells = Cells(2**64 - 7, numbers[:, None], np.array(0), np.arange(landscape.channels))
    monkeypatch.setattr(hidden, "load", lambda: library.Core(None, "numpy"))
    expected = arrays_of(draw_hidden(cells, landscape))
    assert (expected["conversion_rate"] == MAX_CONVERSION_RATE).any() == (drift > 0.0 and flights > 1)
    for level, loaded in libraries.items():
        core = library.Core(loaded, level)
        monkeypatch.setattr(hidden, "load", lambda core=core: core)
        drawn = arrays_of(draw_hidden(cells, landscape))
        for name, values in expected.items():
            assert drawn[name].shape == values.shape
            assert drawn[name].tobytes() == np.ascontiguousarray(values).tobytes(), f"{level}: {name}"
