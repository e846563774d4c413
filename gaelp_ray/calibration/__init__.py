"""From a table of campaign results to a market file, with its validation.

Three steps, each a function: read_table() (table.py), pool() and estimate() (fit.py), validate() (validation.py);
calibrate() takes them in turn. compare_held_out() sets any market beside its held-out campaigns (held_out.py). Knows
markets, and nobody who bids or simulates flights.
"""

from gaelp_ray.calibration.columns import ColumnChoice
from gaelp_ray.calibration.document import Wishes
from gaelp_ray.calibration.fit import estimate, pool
from gaelp_ray.calibration.held_out import HeldOutComparison, compare_held_out
from gaelp_ray.calibration.pipeline import Calibration, calibrate
from gaelp_ray.calibration.table import CampaignTable, read_table
from gaelp_ray.calibration.validation import validate

__all__ = [
    "Calibration",
    "CampaignTable",
    "ColumnChoice",
    "HeldOutComparison",
    "Wishes",
    "calibrate",
    "compare_held_out",
    "estimate",
    "pool",
    "read_table",
    "validate",
]
