"""Empirical Bayes: several estimates of like quantities, each drawn to their common mean as far as it is uncertain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaelp_ray.records import FloatArray


@dataclass(frozen=True)
class Shrunk:
    """Posterior of S quantities under y_s ~ N(theta_s, v_s), theta_s ~ N(mean, between)."""

    mean: float
    between: float  # variance of the quantities
    values: FloatArray  # (S,) posterior means
    variances: FloatArray  # (S,) posterior variances


def shrink(estimates: FloatArray, variances: FloatArray) -> Shrunk:
    """The posterior of quantities with these estimates and sampling variances, (S,); an infinite one: no estimate.

    between: the moment estimate of DerSimonian & Laird (Meta-analysis in clinical trials, 1986), at least 0.
    Posterior mean: mean + between / (between + v_s) x (y_s - mean) (Efron & Morris, Data analysis using Stein's
    estimator, 1975); its variance includes that of the estimated mean, not that of `between`. Needs at least one finite
    variance.
    """
    known = np.isfinite(variances)
    y, v = estimates[known], np.maximum(variances[known], 1e-12)
    weight = 1.0 / v
    fixed = np.average(y, weights=weight)
    excess = float((weight * (y - fixed) ** 2).sum()) - (len(y) - 1)
    scale = float(weight.sum() - (weight**2).sum() / weight.sum())
    between = max(excess / scale, 0.0) if scale > 1e-12 * weight.sum() else 0.0
    weight = 1.0 / (v + between)
    mean = float(np.average(y, weights=weight))
    trust = np.zeros(len(estimates))
    trust[known] = between / (between + v)
    values = np.where(known, mean + trust * (np.where(known, estimates, mean) - mean), mean)
    own = trust * np.where(known, variances, 0.0)
    own[~known] = between
    return Shrunk(mean, between, values, own + (1.0 - trust) ** 2 / weight.sum())
