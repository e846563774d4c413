"""Who is better than whom: all pairs together are wrong no more often than stated, and better models are found."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from gaelp_ray.evidence import contest
from gaelp_ray.evidence.contest import duels, simultaneous_width
from gaelp_ray.evidence.pooled import pooled_ratio
from gaelp_ray.records import PER_FLIGHT, FlightTotals


def arms(dice: np.random.Generator, roas: list[float], flights: int = 150) -> dict[str, FlightTotals]:
    """Models with these ROAS in the long run, on the same flights, with most of their luck in common."""
    budget = dice.uniform(50.0, 150.0, flights)
    shared = dice.gamma(4.0, 0.25, flights)
    made = {}
    for label, value in zip("ABCDEF", roas, strict=False):
        cost = budget * dice.uniform(0.9, 1.0, flights)
        revenue = value * cost * shared * dice.gamma(25.0, 0.04, flights)
        arrays = {name: np.ones(flights) for name in PER_FLIGHT}
        sums = {"cost": cost, "revenue": revenue, "expected_revenue": revenue, "budget": budget}
        made[label] = FlightTotals(168, **arrays | sums)
    return made


def test_difference_is_that_of_the_pooled_metrics_in_both_directions():
    made = arms(np.random.default_rng(1), [5.0, 5.5])
    (there,) = duels(made, "roas", 0.95)
    (back,) = duels(dict(reversed(made.items())), "roas", 0.95)
    assert there.found.difference == pytest.approx(made["A"].pooled().roas - made["B"].pooled().roas)
    assert back.found.difference == pytest.approx(-there.found.difference)
    assert there.probability < 0.05 and there.probability + back.probability == pytest.approx(1.0)
    assert (there.found.verdict, back.found.verdict) == ("below", "above")


@pytest.fixture
def quick(monkeypatch):
    """Fewer draws, where many comparisons are made."""
    monkeypatch.setattr(contest, "DRAWS", 4000)


def test_models_of_equal_worth_are_called_different_as_rarely_as_stated(quick):
    dice, wrong, alone = np.random.default_rng(2), 0, 0
    for _ in range(400):
        made = arms(dice, [5.0] * 4)
        wrong += any(duel.found.verdict != "tie" for duel in duels(made, "roas", 0.9))
        pairs = [{a: made[a], b: made[b]} for a in made for b in made if a < b]
        alone += any(duels(pair, "roas", 0.9)[0].found.verdict != "tie" for pair in pairs)
    assert wrong / 400 <= 0.1 + 2.0 * math.sqrt(0.1 * 0.9 / 400)
    assert alone / 400 > 0.2  # what pairs one by one would do


def test_intervals_of_all_pairs_hold_together(quick):
    dice, together = np.random.default_rng(3), 0
    roas = {"A": 5.0, "B": 5.2, "C": 6.0}
    for _ in range(400):
        found = duels(arms(dice, list(roas.values())), "roas", 0.9)
        together += all(roas[duel.a] - roas[duel.b] in duel.found.interval for duel in found)
    assert together / 400 == pytest.approx(0.9, abs=0.04)


def test_probability_is_as_often_right_as_it_says():
    dice = np.random.default_rng(4)
    probabilities = [duels(arms(dice, [5.0, 5.0]), "roas", 0.95)[0].probability for _ in range(500)]
    assert np.quantile(probabilities, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.06)


def test_a_model_that_is_better_by_a_tenth_is_above():
    found = duels(arms(np.random.default_rng(5), [5.5, 5.0, 5.0]), "roas", 0.95)
    verdicts = {(duel.a, duel.b): duel.found.verdict for duel in found}
    assert verdicts == {("A", "B"): "above", ("A", "C"): "above", ("B", "C"): "tie"}


@pytest.mark.parametrize("models", [2, 3, 6])
def test_width_lies_between_that_of_one_pair_and_bonferronis(models):
    made = arms(np.random.default_rng(6), [5.0] * models, flights=5000)
    width = simultaneous_width([pooled_ratio(totals, "roas") for totals in made.values()], 0.95)
    pairs = models * (models - 1) / 2
    bonferroni = ndtri(1.0 - 0.025 / pairs)
    if models == 2:
        assert width == pytest.approx(1.96, abs=0.002)
    else:
        # The range of so many equal, independent models: Tukey's 3.3145 and 4.0301, over sqrt(2).
        assert width == pytest.approx({3: 2.344, 6: 2.850}[models], rel=0.015)
        assert 1.96 < width < bonferroni


def test_models_that_do_the_same_are_a_tie_and_in_nobodys_way():
    made = arms(np.random.default_rng(7), [5.0, 6.0])
    found = {(d.a, d.b): d for d in duels(made | {"C": made["A"]}, "roas", 0.95)}
    same = found["A", "C"]
    assert (same.found.difference, same.found.verdict, same.probability) == (0.0, "tie", 0.5)
    assert found["A", "B"].found.verdict == "below"


def test_other_flights_are_not_compared_and_the_unmeasured_is_left_out():
    made = arms(np.random.default_rng(8), [5.0, 6.0])
    with pytest.raises(ValueError, match="did not fly the same flights"):
        duels({**made, "B": replace(made["B"], budget=made["B"].budget[::-1])}, "roas", 0.95)
    none = np.zeros(150)
    own = {label: replace(totals, budget=none, oracle_revenue=none * np.nan) for label, totals in made.items()}
    assert [len(duels(own, metric, 0.95)) for metric in ("roas", "delivery", "optimality")] == [1, 0, 0]
