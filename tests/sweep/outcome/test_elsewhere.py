"""Who is kept, the control arm and the reference line fly in the other markets, which decides nothing."""

from __future__ import annotations

import pytest
from synthetic_arms import Truth
from synthetic_sky import TRIALS, Ear, Sky, by_label

from gaelp_ray.sweep.outcome.final import REFERENCE
from gaelp_ray.training import Stream

NOMINAL, REALISTIC = "airfrance-search@nominal", "airfrance-search"
ELSEWHERE = f"{{top_k: 2, episodes: 512, markets: [{NOMINAL}, {REALISTIC}]}}"
BOTH_LINES = ("default", REFERENCE)


def test_who_is_kept_the_control_arm_and_the_reference_line_fly_in_the_other_markets(stage):
    sky, ear = Sky({"b": Truth(6.0)}), Ear()
    selection, after = stage(sky, TRIALS, ELSEWHERE, ear)
    assert [(stream, set(arms), flights) for stream, arms, flights in sky.flown[2:]] == [
        (Stream.MARKETS, {"b", *BOTH_LINES}, 512)
    ] * 2
    assert sky.noise == [{0.0}, {0.4}]
    assert sky.seeds[2:] == [(Stream.MARKETS,)] * 2  # the same whatever the list is
    assert ear.heard[-2:] == [("flying in the other markets", n, 3072) for n in (1536, 3072)]
    arms = by_label(selection)
    assert {label: tuple(arm.markets) for label, arm in arms.items()} == {
        "a": (),
        **dict.fromkeys(("b", *BOTH_LINES), (NOMINAL, REALISTIC)),
    }
    expected = sky.flights("b", [0, Stream.MARKETS], [(0, 256), (1, 256)])
    assert (arms["b"].markets[NOMINAL].totals.revenue == expected.revenue).all()
    assert arms["b"].markets[NOMINAL].confidence == 0.95 and selection.winner is arms["b"]
    assert (after, ear.noted) == (TRIALS, [])


def test_other_markets_decide_nothing(stage):
    poor = {("b", int(Stream.MARKETS)): Truth(0.1, delivery=0.3)}
    selection, _ = stage(Sky({"b": Truth(6.0)} | poor), TRIALS, ELSEWHERE)
    without, _ = stage(Sky({"b": Truth(6.0)}), TRIALS)
    assert selection.winner is not None and selection.winner.markets[REALISTIC].metrics.roas < 0.2
    assert selection.reason == without.reason and selection.ineligible == without.ineligible == {}
    assert [arm.label for arm in selection.ranking] == [arm.label for arm in without.ranking]
    for one, other in zip(selection.ranking, without.ranking, strict=True):
        assert one.evaluation.as_dict() == other.evaluation.as_dict() and not other.markets


def test_a_control_arm_that_is_kept_flies_once(stage):
    sky = Sky({})
    selection, _ = stage(sky, TRIALS, ELSEWHERE)
    assert selection.winner is not None and selection.winner.label == "default"
    assert [sorted(arms) for stream, arms, _ in sky.flown if stream == Stream.MARKETS] == [sorted(BOTH_LINES)] * 2


@pytest.mark.parametrize("lost", ["b", "default"])
def test_an_arm_that_cannot_be_flown_elsewhere_is_told_and_stays_what_it_is(stage, lost):
    ear = Ear()
    selection, after = stage(Sky({"b": Truth(6.0)}, lost={(lost, Stream.MARKETS)}), TRIALS, ELSEWHERE, ear)
    arms = by_label(selection)
    assert selection.winner is arms["b"] and arms[lost].markets == {} and after == TRIALS
    assert all(set(arms[label].markets) == {NOMINAL, REALISTIC} for label in {"b", *BOTH_LINES} - {lost})
    assert ear.noted == [f"{lost} could not be flown through {name}: ValueError: no" for name in (NOMINAL, REALISTIC)]


def test_where_nobody_is_kept_no_other_market_is_flown(stage):
    sky = Sky({name: Truth(5.0, delivery=0.5) for name in ("a", "b", "c", "default")})
    selection, _ = stage(sky, TRIALS, ELSEWHERE)
    assert selection.winner is None and not sky.noise
