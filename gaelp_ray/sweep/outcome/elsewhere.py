"""After the decision: who is kept flies in the other markets of the sweep file, beside the two lines. Decides nothing.

markets.py says what comes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gaelp_ray.evidence.intervals import summarise
from gaelp_ray.records import Evaluation
from gaelp_ray.results import Selection
from gaelp_ray.sweep.listener import EPISODES, SweepListener
from gaelp_ray.sweep.outcome.reflight import Arm, fly_arms
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.training import Stream, batches


def in_other_markets(
    selection: Selection, arms: Mapping[str, Arm], plan: SweepPlan, listener: SweepListener
) -> Selection:
    """The same selection; who is kept, the control arm and the reference line have `markets`.

    An arm that cannot be flown in one of them, which no market here does to an agent, has none of it.
    """
    kept = selection.winner
    if kept is None or not plan.other_markets:
        return selection
    flying = [arms[c.label] for c in selection.ranking if c.role != "candidate" or c.label == kept.label]
    flown = _flown(flying, plan, listener)
    ranking = tuple(replace(c, markets=flown.get(c.label, {})) for c in selection.ranking)
    return replace(selection, ranking=ranking, winner=next(c for c in ranking if c.label == kept.label))


def _flown(flying: list[Arm], plan: SweepPlan, listener: SweepListener) -> dict[str, dict[str, Evaluation]]:
    """label -> market -> its flights."""
    found: dict[str, dict[str, Evaluation]] = {arm.label: {} for arm in flying}
    rules, number = plan.spec.select, len(plan.other_markets)
    for before, (name, market) in enumerate(plan.other_markets.items()):

        def tell(done: int, total: int, before: int = before) -> None:
            listener.stage("flying in the other markets", before * total + done, number * total, EPISODES)

        # The seeds are the same in every market: no number depends on which others are in the list.
        there, seeds = [arm.through(market) for arm in flying], [plan.spec.seed, Stream.MARKETS]
        totals, lost = fly_arms(there, batches(rules.episodes), seeds, tell)
        for label, sums in totals.items():
            found[label][name] = summarise(sums, rules.confidence)
        for label, why in lost.items():
            listener.note(f"{label} could not be flown through {name}: {why}")
    return found
