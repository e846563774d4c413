"""`gaelp-ray calibrate`: a market file from a table of campaign results, and the table that says how good it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gaelp_ray.calibration import Calibration, ColumnChoice, Wishes
from gaelp_ray.calibration import calibrate as calibrate_table
from gaelp_ray.calibration.columns import parse_choice
from gaelp_ray.cli.markets import market_facts
from gaelp_ray.cli.screen import out, print_json
from gaelp_ray.errors import StorageError
from gaelp_ray.market.validation import BesideFloor, MetricValidation, PriceResponse, Validation

Words = list[str] | None


def calibrate(
    *,
    table: Annotated[
        Path, typer.Argument(help="CSV file: one row per ad, keyword or campaign-day.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Market file to write (.yaml).", show_default=False)],
    columns: Annotated[Words, typer.Option(help="field=Column name, where a name is not recognised.")] = None,
    segment: Annotated[Words, typer.Option(help="Columns whose combinations are the channels.")] = None,
    order_value: Annotated[float | None, typer.Option(help="Revenue of a conversion, if the table has none.")] = None,
    decimal: Annotated[Literal[".", ","] | None, typer.Option(help="Decimal mark, if the table cannot tell.")] = None,
    currency: Annotated[str | None, typer.Option(help="Currency, if the table does not say.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the market; default: the file's.")] = None,
    period_days: Annotated[float | None, typer.Option(help="Days that the table covers, if it has no days.")] = None,
    hours: Annotated[str, typer.Option(help="Shape of the week: avito, open_bandit or alimama.")] = "avito",
    auction: Annotated[Literal["second_price", "first_price"], typer.Option(help="What winners pay.")] = "second_price",
    budget: Annotated[
        float | None, typer.Option(help="Budget of a flight; default: what the market can spend.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the splits of the validation.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print facts as JSON.")] = False,
) -> None:
    """Calibrate a market from a table of campaign results, and validate it on rows it has not seen."""
    _check_target(output, overwrite)
    choice = ColumnChoice(parse_choice(columns or ()), _names(segment), decimal)
    wishes = Wishes(name or output.stem, order_value, currency, period_days, hours, auction, budget)
    made = calibrate_table(table, choice, wishes, seed)
    _write(output, made.text)
    if as_json:
        print_json(_facts(made, output))
    else:
        _show(made, output, out)


def _names(words: Words) -> tuple[str, ...]:
    return tuple(name.strip() for word in words or () for name in word.split(",") if name.strip())


def _check_target(path: Path, overwrite: bool) -> None:
    if path.suffix not in (".yaml", ".yml"):
        raise StorageError(f"{path}: a market file ends in .yaml")
    if path.exists() and not (overwrite and path.is_file()):
        remedy = "replace it with --overwrite" if path.is_file() else "it is no file"
        raise StorageError(f"{path} exists already: give another file with -o ({remedy})")
    if not path.parent.is_dir():
        raise StorageError(f"{path.parent} is no folder: make it first")


def _write(path: Path, text: str) -> None:
    """All of the file or nothing of it."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror}") from None


def _facts(made: Calibration, output: Path) -> dict[str, object]:
    return {
        "market": str(output),
        "remarks": made.remarks,
        "facts": market_facts(made.market),
        "validation": made.validation.model_dump(mode="json"),
    }


def _show(made: Calibration, output: Path, console: Console) -> None:
    for remark in made.remarks:
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    facts = market_facts(made.market)
    console.print(
        f"{len(facts['channels'])} channels, historical ROAS {facts['roas']:.2f}, CPC {facts['cpc']:.2f} "
        f"{made.market.currency}, conversion rate {facts['conversion_rate']:.2%}",
        markup=False,
        highlight=False,
    )
    validation_table(made.validation, console)
    console.print(f"market file: {output}", markup=False, highlight=False, soft_wrap=True)


def validation_table(validation: Validation, console: Console) -> None:
    """Every error beside its noise floor, and their ratio."""
    console.print(
        f"validation: fitted on random halves of {validation.rows:,} rows, simulated on the others "
        f"({validation.splits} splits; medians over "
        f"{validation.segments} segments with at least {validation.min_clicks} clicks in both halves)",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(
        "", "error", "simulated", "noise floor", "ratio", "90 % interval covers", box=None, header_style="bold"
    )
    for title, metric in _metrics(validation):
        for row in _rows(title, metric):
            table.add_row(*row)
    response = validation.price_response
    if response:
        for title, error in (("clicks, high / low bids", response.clicks), ("CPC, high / low bids", response.cpc)):
            if error:
                table.add_row(title, "MAE of log", *_beside(error.mae), f"{error.coverage_90:.0%}")
    console.print(table)
    if response:
        _price_response(response, console)
    console.print(
        f"noise floor: the same between the two real halves, median of {validation.floor_splits} splits; a ratio of 1 "
        "is as good as more real data; intervals from "
        f"{validation.replicates} replicates of {validation.interval_splits} splits",
        highlight=False,
        soft_wrap=True,
    )


def _price_response(response: PriceResponse, console: Console) -> None:
    """Clicks per row and CPC of rows of high bids, in units of rows of low bids; or why there is no test."""
    if response.not_tested is not None:
        console.print(f"price response: not tested ({response.not_tested})", markup=False, highlight=False)
        return
    console.print("price response: rows of high bids / rows of low bids of a channel, on the unseen halves")
    table = Table("", "bid", "clicks", "predicted", "CPC", "predicted", box=None, header_style="bold")
    for row in response.channels:
        ratios = (row.bids, row.clicks, row.predicted_clicks, row.cpc, row.predicted_cpc)
        table.add_row(escape(row.channel), *(f"x{ratio:.2f}" for ratio in ratios))
    console.print(table)


def _metrics(validation: Validation) -> list[tuple[str, MetricValidation]]:
    found = (validation.ctr, validation.cpc, validation.conversion_rate, validation.roas)
    return list(zip(("CTR", "CPC", "conversion rate", "ROAS"), found, strict=True))


def _rows(title: str, metric: MetricValidation) -> list[tuple[str, ...]]:
    covered = "" if metric.coverage_90 is None else f"{metric.coverage_90:.0%}"
    rows: list[tuple[str, ...]] = [
        (title, "MAE", *_beside(metric.mae), covered),
        ("", "RMSE", *_beside(metric.rmse), ""),
        ("", "correlation", *_beside(metric.correlation), ""),
    ]
    if metric.within_1x:
        rows.append(("", "share within 1x (difference at most 1.0)", *_beside(metric.within_1x), ""))
    return rows


def _beside(figure: BesideFloor) -> tuple[str, str, str]:
    return _plain(figure.value), _plain(figure.floor), "" if figure.ratio is None else f"{figure.ratio:.2f}"


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.4g}"
