"""Commands of `gaelp-ray`. Each reads its options, calls one function of the package, and shows what came of it.

Exit codes: 0 done, also without a command, which prints the help; 1 it ran, but there is no eligible winner, a bound is
broken, a gate refused the model, or a deployed one has fallen; 2 what was asked for is wrong; 130 interrupted.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from gaelp_ray.checkpoint import load_model
from gaelp_ray.cli import markets as market_tables
from gaelp_ray.cli.calibrate import calibrate
from gaelp_ray.cli.clusters import cluster
from gaelp_ray.cli.comparing import compare_models
from gaelp_ray.cli.copies import copy_model
from gaelp_ray.cli.evaluating import evaluate_model
from gaelp_ray.cli.fields import field_facts, print_fields
from gaelp_ray.cli.monitoring import monitor_model
from gaelp_ray.cli.options import RESULTS, AsJson, ModelName, Storage, help_without_command
from gaelp_ray.cli.plan import plan
from gaelp_ray.cli.rerun import rerun
from gaelp_ray.cli.running import resume, sweep
from gaelp_ray.cli.schema import schema
from gaelp_ray.cli.screen import err, out, print_json, replace_unencodable
from gaelp_ray.cli.showing import list_sweeps, show
from gaelp_ray.cli.submitting import attach, submit_sweep
from gaelp_ray.cli.syncing import sync
from gaelp_ray.cli.train import train
from gaelp_ray.errors import GaelpError, InputError, NoWinnerError, SweepInterrupted
from gaelp_ray.market import load_market, market_names
from gaelp_ray.records import shown
from gaelp_ray.retrieval import find_model

app = typer.Typer(
    name="gaelp-ray",
    help="Tune agents that buy advertising: Ray Tune sweeps with an honest winner.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"gaelp-ray {version('gaelp_ray')}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Print the help where no command is named."""
    help_without_command(context)


def main() -> None:
    """Entry point: errors become one line (with --debug, a traceback) and an exit code."""
    replace_unencodable()
    debug = "--debug" in sys.argv
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        code = app(arguments, prog_name="gaelp-ray", standalone_mode=False)
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


app.command()(plan)
app.command()(sweep)
app.command()(resume)
app.command()(rerun)
app.command()(sync)
app.command("list")(list_sweeps)
app.command()(show)


@app.command()
def best(
    sweep: ModelName,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Copy the model to this folder.")] = None,
    storage: Storage = RESULTS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model in the output folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Retrieve the best model of a sweep, wherever that is; its checksum is verified."""
    try:
        found = find_model(sweep, storage)
    except NoWinnerError as error:  # nothing was asked wrongly
        raise GaelpError(str(error)) from None
    model = load_model(found.folder)
    if output:
        copy_model(found.folder, output, overwrite)
    if as_json:
        told = {"config": model.config.to_dict(), **model.about, **found.chosen}
        print_json({"model": str(output or found.folder), **told})
        return
    chosen = found.chosen or model.about
    said = f"{chosen.get('trial', 'a model')}: {model.config.agent_type} for {model.market.name}"
    if earned := chosen.get("evaluation"):
        said += f", ROAS {earned['roas']:.3f} ({earned['roas_low']:.3f} to {earned['roas_high']:.3f})"
        said += f", delivery {shown(earned['delivery'], '{:.1%}')}"
    out.print(said, markup=False, highlight=False, soft_wrap=True)
    out.print(f"model: {output or found.folder}", markup=False, highlight=False, soft_wrap=True)


app.command("evaluate")(evaluate_model)
app.command("compare")(compare_models)
app.command("monitor")(monitor_model)
app.command()(calibrate)
app.command()(schema)
app.command()(train)
app.add_typer(cluster, name="cluster")
app.command("submit")(submit_sweep)
app.command()(attach)


@app.command()
def markets(
    name: Annotated[str | None, typer.Argument(help="One market, or the path of a market file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Markets with their headline figures and the source of their numbers."""
    facts = [market_tables.market_facts(load_market(n)) for n in ([name] if name else market_names())]
    if as_json:
        print_json(facts)
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
        print_json(facts)
    else:
        print_fields(facts, out)
