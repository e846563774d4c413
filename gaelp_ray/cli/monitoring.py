"""`gaelp-ray monitor`: a deployed model's flights against what it was chosen with."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from gaelp_ray.checkpoint import DESCRIPTION, load_model
from gaelp_ray.cli.options import RESULTS, AsJson, ModelName, Storage
from gaelp_ray.cli.reporting import Entity, Project, RunName, Wandb, destination
from gaelp_ray.cli.screen import err, out, print_json
from gaelp_ray.errors import InputError, ModelError
from gaelp_ray.evidence.decline import FIRST_LOOK, BudgetControl, Card, Watch, flights_to_notice, watch
from gaelp_ray.evidence.observed import ObservedFlights, read_flights
from gaelp_ray.records import shown
from gaelp_ray.retrieval import find_model

LOSS = 0.2
"""Of the ROAS: what a person is told that it takes to notice."""

TOLD = 5
"""Damaged lines that are told one by one."""

UNCONTROLLED = "and budgets other than the measured ones can raise a false alarm or hide a loss"

Log = Annotated[
    Path,
    typer.Option(
        help='Observed flights in their order, one JSON object per line: {"cost": 100, "revenue": 450, "budget": 110}. '
        "Without a budget the comparison assumes the budgets of the model's measurement; other keys are ignored.",
        show_default=False,
    ),
]
FalseAlarm = Annotated[
    float, typer.Option(help="How often an alarm is wrong at most, over all looks together: above 0, 0.2 at most.")
]


def monitor_model(
    model: ModelName,
    *,
    log: Log,
    false_alarm: FalseAlarm = 0.01,
    wandb: Wandb = False,
    project: Project = None,
    entity: Entity = None,
    name: RunName = None,
    storage: Storage = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Watch a deployed model: exit code 0 while nothing speaks against it, 1 if its ROAS has fallen, 2 for bad input.

    ROAS counts as fallen as soon as it was, after any flight, surely below what the model's card expects at the log's
    budgets. Calling it as often as one likes makes no further false alarms. With --wandb there is one W&B alert of it.
    """
    if not 0.0 < false_alarm <= 0.2:
        raise InputError(f"--false-alarm {false_alarm:g}: write a share above 0, 0.2 at most, such as 0.01")
    folder = find_model(model, storage).folder
    card = _card(folder, model)
    observed = read_flights(log)
    _complain(observed, log)
    try:
        found = watch(observed, card, false_alarm)
    except InputError as error:
        raise InputError(f"{log}: {error}") from None
    if found.left_out and card.curve:
        outside = f"{found.left_out} of {len(observed)} flights are outside the measured {card.curve.measured}"
        _warn(f"{log}: budget: {outside}: left out")
    if as_json:
        print_json({"model": model, "log": str(log), **_facts(found, observed)})
    else:
        _tell(found)
    if wandb:
        from gaelp_ray.tracking.watched import log_watch

        where = log_watch(destination(project, entity, name or f"monitor {model}"), _id(folder, log), found, model)
        err.print(where, markup=False, highlight=False, soft_wrap=True)
    if found.noticed_after is not None:
        raise typer.Exit(1)


def _card(folder: Path, named: str) -> Card:
    try:
        return Card.of(load_model(folder).about)
    except ModelError as error:
        raise ModelError(f"{named}: {error}" if named not in str(error) else str(error)) from None


def _id(folder: Path, log: Path) -> str:
    """The W&B run of a model and a log: the same from look to look, another one for a log that was begun anew."""
    sha256 = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["sha256"]
    with log.open("rb") as file:
        first = file.readline(4096)
    whole = b"\0".join([sha256.encode(), str(log.resolve()).encode(), first])
    return f"monitor-{hashlib.sha256(whole).hexdigest()[:12]}"


def _complain(observed: ObservedFlights, log: Path) -> None:
    for number, why in observed.damaged[:TOLD]:
        _warn(f"{log}:{number}: {why}: left out")
    if len(observed.damaged) > TOLD:
        _warn(f"{log}: {len(observed.damaged) - TOLD} more damaged lines were left out")


def _warn(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def _facts(found: Watch, observed: ObservedFlights) -> dict[str, Any]:
    card = found.card
    return {
        "degraded": found.noticed_after is not None,
        "noticed_after": found.noticed_after,
        "flights": found.flights,
        "roas": float(found.roas[-1]),
        "roas_low": found.interval.low,
        "roas_high": found.interval.high,
        "expected_roas": float(found.expected.roas[-1]),
        "expected_roas_low": float(found.expected.floor[-1]),
        "budget_control": found.budget_control.value,
        "flights_at_their_budget": int(found.expected.by_budget.sum()),
        "flights_left_out": found.left_out,
        "delivery": found.delivery,
        "card": asdict(card),
        "false_alarm": found.false_alarm,
        "false_alarm_if_unchanged": found.false_alarm_if_unchanged,
        "flights_to_notice_a_loss_of_20_percent": flights_to_notice(found, LOSS),
        "damaged_lines": [{"line": number, "problem": why} for number, why in observed.damaged],
    }


def _tell(found: Watch) -> None:
    card, after, look = found.card, found.noticed_after, found.interval
    surely = f" ({look.low:.3f} to {look.high:.3f}, right for all looks together)" if math.isfinite(look.low) else ""
    lines = [
        f"observed: {found.flights} flight{'' if found.flights == 1 else 's'}, ROAS "
        f"{shown(float(found.roas[-1]), '{:.3f}')}{surely or f' (no interval before {FIRST_LOOK} flights)'}",
        f"chosen with: ROAS {card.roas:.3f} ({card.confidence:.0%}: {card.low:.3f} to {card.high:.3f}) of "
        f"{card.flights} fresh flights",
        _budgets(found),
    ]
    if not math.isnan(found.delivery):
        lines.append(f"delivery: {found.delivery:.1%}, chosen with {shown(card.delivery, '{:.1%}')}")
    if after is not None:
        at = after - 1
        observed = f"ROAS was {found.roas[at]:.3f}, at most {found.high[at]:.3f}"
        lines.append(
            f"degraded: noticed after {after} flights, when {observed}, and expected at least "
            f"{found.expected.floor[at]:.3f}"
        )
    else:
        due = flights_to_notice(found, LOSS)
        soon = f" (a loss of {LOSS:.0%} is noticed after about {due} flights)" if due else ""
        lines.append(f"no sign of a loss{soon}")
    lines.append(
        f"false alarms: at most {found.false_alarm:.1%} if the true ROAS is {found.floor:.3f} or more; at most "
        f"{found.false_alarm_if_unchanged:.1%} if nothing has changed, as {found.card_error:.1%} of such cards are too "
        "high"
    )
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _budgets(found: Watch) -> str:
    """What ROAS is expected of the log's flights, and whether their budgets count."""
    control, curve = found.budget_control, found.card.curve
    if curve is None:
        remedy = "if the sweep's budgets differ, `gaelp-ray resume SWEEP --set select.episodes=N` measures it"
        return f"budgets: not controlled for: model.json has no ROAS by budget, {UNCONTROLLED}: {remedy}"
    if control is BudgetControl.NO_BUDGETS:
        return f"budgets: not controlled for: the log has none, {UNCONTROLLED}: log each flight's budget"
    expected = shown(float(found.expected.roas[-1]), "{:.3f}")
    text = (
        f"expected at these budgets: ROAS {expected}, at least {found.floor:.3f} (elasticity {curve.elasticity:+.2f})"
    )
    if control is BudgetControl.ALL:
        return text
    pooled = found.flights - int(found.expected.by_budget.sum())
    return f"{text}; {pooled} of {found.flights} flights have no budget: compared with the card's pooled ROAS"
