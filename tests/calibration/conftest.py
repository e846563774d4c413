"""Tables from a market whose parameters are known, drawn click by click with numpy alone."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


@dataclass(frozen=True)
class Truth:
    """A market, and how its rows differ."""

    ctr: tuple[float, ...] = (0.02, 0.04, 0.03, 0.06)
    log_price: tuple[float, ...] = (0.0, 0.4, -0.3, 0.2)
    conversion_rate: tuple[float, ...] = (0.05, 0.1, 0.2, 0.08)
    order_value: tuple[float, ...] = (80.0, 120.0, 60.0, 100.0)
    bid_over_price: float = 2.5  # historical bid / median competing price
    log_sd: float = 0.7
    order_value_shape: float = 2.0
    ctr_variation: float = 0.3
    cpc_variation: float = 0.15
    conversion_rate_variation: float = 0.4
    rows: int = 300
    impressions: float = 800.0  # median of a row

    def write(self, path: Path, seed: int = 0, columns: tuple[str, ...] | None = None) -> Path:
        """A table of this market, one row per ad."""
        rng = np.random.default_rng(seed)
        header = columns or ("Campaign", "Impr.", "Clicks", "Cost", "Conversions", "Conv. value", "Max. CPC")
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for s in range(len(self.ctr)):
                writer.writerows([f"campaign {s}", *row] for row in self._rows(rng, s))
        return path

    def _rows(self, rng: np.random.Generator, s: int):
        for _ in range(self.rows):
            impressions = max(int(self.impressions * np.exp(rng.normal(0.0, 1.2))), 1)
            clicks = rng.binomial(impressions, around(rng, self.ctr[s], self.ctr_variation))
            sd = np.sqrt(np.log1p(self.cpc_variation**2))
            level = np.exp(self.log_price[s] + sd * rng.standard_normal())
            bid = level * self.bid_over_price
            prices = level * np.exp(np.sqrt(self.log_sd**2 - sd**2) * rng.standard_normal(8 * clicks + 50))
            cost = prices[prices < bid][:clicks].sum()
            sold = rng.binomial(clicks, around(rng, self.conversion_rate[s], self.conversion_rate_variation))
            shape = self.order_value_shape
            revenue = rng.gamma(shape, self.order_value[s] / shape, sold).sum()
            yield impressions, clicks, round(cost, 2), sold, round(revenue, 2), round(bid, 2)


def around(rng: np.random.Generator, mean: float, variation: float) -> float:
    """A beta draw."""
    if variation == 0.0:
        return mean
    concentration = (1.0 - mean) / (mean * variation**2) - 1.0
    return rng.beta(mean * concentration, (1.0 - mean) * concentration)


@pytest.fixture(scope="session")
def truth() -> type[Truth]:
    """Markets to write tables of: truth(rows=60).write(path, seed)."""
    return Truth


@pytest.fixture
def write(tmp_path):
    """A text as a file, in an encoding: its path."""

    def _write(text: str, encoding: str = "utf-8", name: str = "ads.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return _write
