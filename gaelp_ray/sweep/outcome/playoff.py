"""A play-off: where a race leaves open whether the control arm is the best, its leader must beat it on fresh flights.

The default stays selected unless a difference is significant. A race must find one arm above all others and leaves few
flights for each. The play-off tests one pair, on flights that did not select the pair. It errs with probability
(1 - confidence) / 2 at most: only one side of the paired interval can select the leader. Pure: the flights come from a
callable. Start at play_off().
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gaelp_ray.evidence.contest import duels
from gaelp_ray.records import SCORE, FlightTotals
from gaelp_ray.results import Comparison, PlayOff
from gaelp_ray.sweep.outcome.race import Race, Verdict

FlyPair = Callable[[Sequence[str]], Mapping[str, FlightTotals]]
"""(leader, control arm) -> the same fresh flights of both; whoever is missing could not fly."""

ABOVE = "above the control arm in a play-off"


def leader(state: Race, verdict: Verdict, control: str | None) -> str | None:
    """Who may challenge the control arm that a tie would keep: the best of the race, if that is another arm."""
    if control is None or verdict.kept != control:
        return None
    best = max((arm for arm in (control, *verdict.tied) if state.fit(arm)), key=state.score)
    return best if best != control else None


def play_off(state: Race, verdict: Verdict, control: str | None, fly: FlyPair) -> tuple[Verdict, PlayOff | None]:
    """The verdict after a play-off, and the play-off; as it was where there is nothing to play off."""
    challenger = leader(state, verdict, control)
    if challenger is None or control is None:
        return verdict, None
    flown = fly([challenger, control])
    played = PlayOff(challenger, max(map(len, flown.values()), default=0), _compared(state, challenger, control, flown))
    if not played.won:
        return verdict, played
    others = tuple(arm for arm in verdict.tied if arm != challenger)
    return replace(verdict, decision="tie" if others else "winner", kept=challenger, rule=ABOVE, tied=others), played


def _compared(state: Race, leader: str, control: str, flown: Mapping[str, FlightTotals]) -> Comparison | None:
    """None where one of the two is not eligible on these flights."""
    rules = state.rules.eligibility
    if any(arm not in flown or rules.fault(flown[arm].pooled()) for arm in (leader, control)):
        return None
    pair = {arm: flown[arm] for arm in (leader, control)}
    found = duels(pair, SCORE, state.rules.confidence)
    return found[0].found if found else None
