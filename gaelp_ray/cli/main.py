"""Commands of `gaelp-ray`. Each reads its options, calls one function of the package, and shows what came of it.

Exit codes: 0 done; 1 it ran, but there is no eligible winner; 2 what was asked for is wrong; 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from click.exceptions import NoArgsIsHelpError
from rich.console import Console

from gaelp_ray.checkpoint import load_model, plain
from gaelp_ray.cli import markets as market_tables
from gaelp_ray.cli import tables
from gaelp_ray.cli.calibrate import calibrate
from gaelp_ray.cli.copies import copy_model
from gaelp_ray.cli.fields import field_facts, fields_table
from gaelp_ray.cli.live import LiveSweep
from gaelp_ray.cli.options import RESULTS, AsJson, File, Settings, Storage, overrides
from gaelp_ray.cli.plan import plan
from gaelp_ray.cli.schema import schema
from gaelp_ray.cli.train import train
from gaelp_ray.errors import GaelpError, InputError, SweepInterrupted
from gaelp_ray.market import load_market, market_names
from gaelp_ray.records import shown
from gaelp_ray.sweep.planning.plan import plan_sweep
from gaelp_ray.sweep.store import SweepFolder, sweeps_in
from gaelp_ray.training import Stream, evaluate

app = typer.Typer(
    name="gaelp-ray",
    help="Tune agents that buy advertising: Ray Tune sweeps with an honest winner.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# A pipe has no width: a table in it is as wide as it needs to be.
out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)


def main() -> None:
    """Entry point: errors become one line (with --debug, a traceback) and an exit code."""
    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        code = app(arguments, standalone_mode=False)
    except InputError as error:
        code = _complain(error, debug, 2)
    except SweepInterrupted as error:
        code = _complain(error, debug, 130)
    except GaelpError as error:
        code = _complain(error, debug, 1)
    except typer.Exit as done:
        code = done.exit_code
    except KeyboardInterrupt:
        err.print("interrupted")
        code = 130
    except Exception as error:  # the one place: whatever else happens is a defect of ours, said in one line
        code = _complain(error, debug, _usage_code(error))
    sys.exit(code)


def _usage_code(error: Exception) -> int:
    """2 for a command line that click refuses, 1 for everything else."""
    return int(getattr(error, "exit_code", 1))


def _complain(error: Exception, debug: bool, code: int) -> int:
    if isinstance(error, NoArgsIsHelpError):  # the help has been shown
        return code
    if debug:
        err.print_exception()
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    unexpected = not isinstance(error, GaelpError) and not hasattr(error, "format_message")
    prefix = f"unexpected {type(error).__name__}: " if unexpected else ""
    for line in (text or type(error).__name__).splitlines():
        err.print(f"error: {prefix}{line}", markup=False, highlight=False, soft_wrap=True)
    if unexpected and not debug:
        err.print("(run again with --debug for the traceback)")
    return code


def _print_json(content: Any) -> None:
    print(json.dumps(plain(content), indent=2, allow_nan=False))


app.command()(plan)


@app.command()
def sweep(
    file: File,
    *,
    name: Annotated[str | None, typer.Option(help="Another name than the file's.")] = None,
    storage: Annotated[Path | None, typer.Option(help="Another storage folder than the file's.")] = None,
    settings: Settings = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sweep of the same name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a sweep: search, re-fly the best on fresh flights, publish the winner."""
    from gaelp_ray.sweep.pipeline import run_sweep

    replaced = overrides(name, storage)
    planned = plan_sweep(file, replaced, settings or ())
    with LiveSweep(planned, err if as_json else out) as live:
        result = run_sweep(file, overwrite, replaced, live, settings or ())
    record = result.folder.read_selection()
    if as_json:
        _print_json(record)
    else:
        tables.leaderboard(record["leaderboard"], out)
        tables.closing(result, Path(planned.spec.storage), out)
    if result.selection.winner is None:
        raise typer.Exit(1)


@app.command("list")
def list_sweeps(storage: Storage = RESULTS, as_json: AsJson = False) -> None:
    """The sweeps in a storage folder."""
    facts = []
    for folder in sweeps_in(storage):
        record = folder.read_selection() if folder.is_finished() else {}
        winner = record.get("winner") or {}
        facts.append(
            {
                "sweep": folder.path.name,
                "state": "finished" if record else "unfinished",
                "winner": winner.get("trial"),
                "roas": winner.get("evaluation", {}).get("roas"),
            }
        )
    if as_json:
        _print_json(facts)
        return
    if not facts:
        out.print(f"no sweeps in {storage}")
    for fact in facts:
        won = f"winner {fact['winner']}, ROAS {fact['roas']:.3f}" if fact["winner"] else "no winner"
        out.print(f"{fact['sweep']}  {fact['state']}  {won if fact['state'] == 'finished' else ''}", highlight=False)


@app.command()
def show(
    sweep: Annotated[str, typer.Argument(help="Name or folder of a sweep.", show_default=False)],
    storage: Storage = RESULTS,
    as_json: AsJson = False,
) -> None:
    """One sweep's leaderboard, trial states and decision."""
    folder = SweepFolder.open(storage, sweep)
    record = folder.read_selection()
    if as_json:
        _print_json(record | {"lineage": [vars(exploit) for exploit in folder.read_lineage()]})
        return
    tables.leaderboard(record["leaderboard"], out)
    tables.lineage(folder.read_lineage(), out)
    out.print(f"decision: {record['reason']}", markup=False, highlight=False)


@app.command()
def best(
    sweep: Annotated[str, typer.Argument(help="Name or folder of a sweep.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Copy the model to this folder.")] = None,
    storage: Storage = RESULTS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model in the output folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Retrieve the best model of a sweep; its checksum is verified."""
    folder = SweepFolder.open(storage, sweep)
    record = folder.read_selection()
    if record["winner"] is None:
        raise GaelpError(f"the sweep {folder.path.name!r} has no winner: {record['reason']}")
    model = load_model(folder.best)
    if output:
        copy_model(folder.best, output, overwrite)
    if as_json:
        _print_json({"model": str(output or folder.best), "config": model.config.to_dict(), **record["winner"]})
        return
    earned = record["winner"]["evaluation"]
    out.print(
        f"{record['winner']['trial']}: {model.config.agent_type} for {model.market.name}, ROAS {earned['roas']:.3f} "
        f"({earned['roas_low']:.3f} to {earned['roas_high']:.3f}), delivery {shown(earned['delivery'], '{:.1%}')}",
        highlight=False,
    )
    out.print(f"model: {output or folder.best}", markup=False, highlight=False)


@app.command("evaluate")
def evaluate_model(
    model: Annotated[Path, typer.Argument(help="Folder of a model.", show_default=False)],
    episodes: Annotated[int, typer.Option(min=16, help="Fresh flights.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Which fresh flights.")] = 0,
    market: Annotated[str | None, typer.Option(help="Market that the model must be for.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fly a model on fresh flights, never used in any sweep: pooled metrics with an interval."""
    loaded = load_model(model)
    if market:
        loaded.require_market(load_market(market))
    flown = evaluate(loaded.agent, loaded.market, episodes, [seed, Stream.EVALUATION])
    if as_json:
        _print_json({"model": str(model), "market": loaded.market.name, "seed": seed, **flown.as_dict()})
    else:
        tables.evaluation_table(flown, loaded.market, out)


app.command()(calibrate)
app.command()(schema)
app.command()(train)


@app.command()
def markets(
    name: Annotated[str | None, typer.Argument(help="One market, or the path of a market file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Markets with their headline figures and the source of their numbers."""
    facts = [market_tables.market_facts(load_market(n)) for n in ([name] if name else market_names())]
    if as_json:
        _print_json(facts)
    else:
        market_tables.markets_table(facts, out)


@app.command()
def fields(
    section: Annotated[str | None, typer.Argument(help="A section such as `ppo`, or an agent such as PPO.")] = None,
    as_json: AsJson = False,
) -> None:
    """Every field of a trial: its meaning, default and bounds, and which agents read it."""
    facts = field_facts(section)
    if as_json:
        _print_json(facts)
    else:
        fields_table(facts, out)
