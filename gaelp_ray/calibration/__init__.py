"""From a table of campaign results to a market file, with its validation.

Three steps, each a function: read_table() (table.py), pool() and estimate() (fit.py), validate() (validation.py);
calibrate() takes them in turn. Knows markets, and nobody who bids or simulates flights.
"""

from gaelp_ray.calibration.columns import ColumnChoice
from gaelp_ray.calibration.document import Wishes
from gaelp_ray.calibration.fit import estimate, pool
from gaelp_ray.calibration.pipeline import Calibration, calibrate
from gaelp_ray.calibration.table import CampaignTable, read_table
from gaelp_ray.calibration.validation import validate

__all__ = [
    "Calibration",
    "CampaignTable",
    "ColumnChoice",
    "Wishes",
    "calibrate",
    "estimate",
    "pool",
    "read_table",
    "validate",
]
