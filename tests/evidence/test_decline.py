"""A deployed model: false alarms of all looks together are as rare as stated, and a loss is noticed soon."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gaelp_ray.errors import ModelError
from gaelp_ray.evidence.decline import FIRST_LOOK, SHARPEST, Card, flights_to_notice, watch
from gaelp_ray.evidence.intervals import summarise
from gaelp_ray.evidence.observed import ObservedFlights
from gaelp_ray.evidence.sequences import ConfidenceSequence, Ratio
from gaelp_ray.records import PER_FLIGHT, FlightTotals

ROAS = 10.0


def fly(dice: np.random.Generator, flights: int, left: float = 1.0) -> ObservedFlights:
    """Flights with the spread that those of airfrance-search have; `left`: of the ROAS of ten."""
    cost = dice.uniform(4000.0, 20000.0, flights)
    return ObservedFlights(cost, ROAS * left * cost * dice.gamma(6.5, 1 / 6.5, flights), np.full(flights, 20000.0))


def measured(dice: np.random.Generator, flights: int = 512) -> Card:
    """A card as a final stage writes it, its interval by the delta method, which agrees and is quicker."""
    flown = fly(dice, flights)
    ratio = Ratio.of(flown.revenue, flown.cost)
    half = 1.96 * ratio.deviation / math.sqrt(flights)
    told = {"roas": ratio.value, "roas_low": ratio.value - half, "roas_high": ratio.value + half}
    return Card.of({"evaluation": told | {"confidence": 0.95, "flights": flights, "delivery": flown.delivery}})


def exact() -> Card:
    """A card whose low end is the truth itself: the hardest case of "the true ROAS is at least the low end"."""
    card = measured(np.random.default_rng(0), 2048)
    deviation = card.deviation
    half = 1.96 * deviation / math.sqrt(512)
    return Card(ROAS + half, ROAS, ROAS + 2 * half, 0.95, 512, 0.6)


def test_looks_are_those_of_the_sequence_over_each_beginning_of_the_log():
    card = replace(exact(), flights=2)  # a card without weight: the log's own spread counts
    observed = fly(np.random.default_rng(1), 40)
    found = watch(observed, card, 0.01)
    sequence = ConfidenceSequence(0.02, SHARPEST)
    for n in (FIRST_LOOK, 25, 40):
        ratio = Ratio.of(observed.revenue[:n], observed.cost[:n])
        interval = sequence.interval(ratio)
        assert ratio.deviation > card.deviation
        assert (found.roas[n - 1], found.low[n - 1], found.high[n - 1]) == pytest.approx(
            (ratio.value, interval.low, interval.high)
        )
    assert (found.interval.low, found.interval.high) == (found.low[-1], found.high[-1])
    assert np.isinf(found.high[: FIRST_LOOK - 1]).all()


def test_false_alarms_of_all_looks_together_are_as_rare_as_stated():
    dice, card, alarms = np.random.default_rng(2), exact(), 0
    for _ in range(500):
        alarms += watch(fly(dice, 1500), card, 0.05).noticed_after is not None
    print(f"false alarms: {alarms / 500:.1%} of 1,500 looks each, at most 5 % stated")
    assert alarms / 500 <= 0.05 + 2.0 * math.sqrt(0.05 * 0.95 / 500)


def test_few_flights_alone_would_tell_too_small_a_spread():
    # Why the card's spread counts, too: without it there are more alarms than stated.
    dice, alarms, card = np.random.default_rng(3), 0, exact()
    blind = replace(card, flights=2)
    for _ in range(500):
        alarms += watch(fly(dice, 300), blind, 0.01).noticed_after is not None
    assert alarms / 500 > 0.015


def test_an_unchanged_model_with_the_luck_of_its_card_alarms_as_rarely_as_stated():
    dice, alarms = np.random.default_rng(4), 0
    for _ in range(300):
        alarms += watch(fly(dice, 800), measured(dice), 0.01).noticed_after is not None
    stated = watch(fly(dice, 10), exact(), 0.01).false_alarm_if_unchanged
    assert stated == pytest.approx(0.035)
    assert alarms / 300 <= stated + 2.0 * math.sqrt(stated / 300)


def test_a_loss_of_a_fifth_is_noticed_soon():
    dice, after = np.random.default_rng(5), []
    for _ in range(200):
        noticed = watch(fly(dice, 600, left=0.8), measured(dice), 0.01).noticed_after
        after.append(math.inf if noticed is None else noticed)
    promised = flights_to_notice(measured(dice), 0.01, 0.2)
    median, slow = np.quantile(after, [0.5, 0.9])
    print(f"a loss of 20 %: noticed after {median:.0f} flights (median), {slow:.0f} (nine in ten); told: {promised}")
    assert median < 110 and slow < 220
    assert promised == pytest.approx(median, rel=0.35)


def test_an_alarm_stays_when_the_roas_recovers():
    dice = np.random.default_rng(6)
    bad, good = fly(dice, 200, left=0.5), fly(dice, 3000, left=1.2)
    both = ObservedFlights(*(np.append(getattr(bad, n), getattr(good, n)) for n in ("cost", "revenue", "budget")))
    card = measured(dice)
    first = watch(bad, card, 0.01).noticed_after
    assert first is not None and FIRST_LOOK <= first < 60
    again = watch(both, card, 0.01)
    assert again.noticed_after == first and again.interval.high > card.low


def test_a_total_loss_is_noticed_within_the_first_flights_and_a_gain_never():
    dice = np.random.default_rng(7)
    card = measured(dice)
    assert watch(fly(dice, 100, left=0.0), card, 0.01).noticed_after <= 16
    assert watch(fly(dice, 2000, left=1.3), card, 0.01).noticed_after is None


def test_a_stricter_rate_of_false_alarms_notices_later():
    card, observed = measured(np.random.default_rng(8)), fly(np.random.default_rng(9), 600, left=0.8)
    strict, lenient = (watch(observed, card, rate).noticed_after for rate in (0.001, 0.1))
    assert strict > lenient
    assert flights_to_notice(card, 0.001, 0.2) > flights_to_notice(card, 0.1, 0.2) >= FIRST_LOOK


def test_flights_to_notice_is_where_the_radius_fits():
    card = measured(np.random.default_rng(10))
    due, sequence = flights_to_notice(card, 0.01, 0.2), ConfidenceSequence(0.02, SHARPEST)
    assert 0.8 * card.roas + sequence.radius(card.deviation, due) < card.low
    assert 0.8 * card.roas + sequence.radius(card.deviation, due - 1) >= card.low
    assert flights_to_notice(card, 0.01, 0.01) is None  # within the card's interval


def test_nothing_spent_is_no_roas_and_no_alarm():
    none = np.zeros(20)
    found = watch(ObservedFlights(none, none, none * np.nan), exact(), 0.01)
    assert found.noticed_after is None and math.isnan(found.roas[-1]) and math.isnan(found.delivery)
    late = watch(ObservedFlights(np.append(none, 100.0), np.append(none, 900.0), np.ones(21)), exact(), 0.01)
    assert late.roas[-1] == 9.0 and late.noticed_after is None


def test_card_says_what_an_evaluation_says():
    flown = fly(np.random.default_rng(11), 512)
    arrays = {name: np.ones(512) for name in PER_FLIGHT} | {"cost": flown.cost, "revenue": flown.revenue}
    evaluation = summarise(FlightTotals(168, **arrays), 0.95)
    card = Card.of({"evaluation": evaluation.as_dict()})
    assert (card.low, card.high) == (evaluation.roas_interval.low, evaluation.roas_interval.high)
    assert card.low < card.roas < card.high and (card.confidence, card.flights) == (0.95, 512)
    flown = fly(np.random.default_rng(12), 20_000)
    assert card.deviation == pytest.approx(Ratio.of(flown.revenue, flown.cost).deviation, rel=0.15)


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"evaluation": None},
        {"evaluation": {"roas": 5.0}},
        {"evaluation": {"roas": 5.0, "roas_low": None, "roas_high": 6.0, "confidence": 0.95, "flights": 512}},
        {"evaluation": {"roas": 5.0, "roas_low": "4", "roas_high": 6.0, "confidence": 0.95, "flights": 512}},
        {"evaluation": {"roas": 5.0, "roas_low": 5.0, "roas_high": 5.0, "confidence": 0.95, "flights": 512}},
        {"evaluation": {"roas": 5.0, "roas_low": 4.0, "roas_high": 6.0, "confidence": 1.0, "flights": 512}},
    ],
)
def test_a_model_that_was_never_measured_cannot_be_watched(about):
    with pytest.raises(ModelError, match="has no interval of ROAS to compare with: monitor the best model of a sweep"):
        Card.of(about)
