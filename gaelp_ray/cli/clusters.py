"""`gaelp-ray cluster`: what is sent to a cluster's nodes, what can be known before it comes up, and its end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gaelp_ray.cli.options import AsJson, help_without_command
from gaelp_ray.cli.screen import err, out, print_json
from gaelp_ray.cluster.ending import bring_down
from gaelp_ray.cluster.file import ClusterFile, read_cluster_file
from gaelp_ray.cluster.preflight.check import Report, check_cluster
from gaelp_ray.cluster.preflight.hosts import Host, try_hosts
from gaelp_ray.cluster.prepare import prepare
from gaelp_ray.errors import ClusterError, ClusterFileError

cluster = typer.Typer(
    help="From one machine to many: prepare and check what Ray's launcher is given; end it all.",
    invoke_without_command=True,
    callback=help_without_command,
)


@cluster.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="File of Ray's cluster launcher (YAML).", show_default=False)],
    *,
    ssh: Annotated[bool, typer.Option("--ssh", help="Also log in on every machine that the file names.")] = False,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where sweeps are to lie: a folder that all nodes share, or s3://bucket/prefix.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say all that is wrong with a cluster file, before anything is started or paid for."""
    # What is tried over SSH need not be warned of.
    report = check_cluster(file, None if ssh and storage and storage.startswith("/") else storage)
    hosts = try_hosts(report.file, storage) if ssh else []
    if as_json:
        print_json({**report.as_dict(), "hosts": [asdict(host) for host in hosts]})
    else:
        _show(report, hosts)
    lines = [*report.errors, *(f"{file}: {host.line}" for host in hosts if host.problems)]
    if lines:
        raise ClusterFileError(lines)
    if not as_json:
        out.print(f"{file}: ready for `ray up -y {file}`", markup=False, highlight=False, soft_wrap=True)


def _show(report: Report, hosts: list[Host]) -> None:
    for line in report.warnings:
        err.print(f"warning: {line}", markup=False, highlight=False, soft_wrap=True)
    for host in hosts:
        if not host.problems:
            out.print(host.line, markup=False, highlight=False, soft_wrap=True)


@cluster.command("prepare")
def prepare_nodes(
    wheels: Annotated[
        bool,
        typer.Option("--wheels", help="Also fetch the wheels of all dependencies, for nodes without a package index."),
    ] = False,
) -> None:
    """Make what a cluster's nodes are sent: the wheel of gaelp_ray, a token, and a file for secrets."""
    for line in prepare(Path.cwd(), wheels):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


@cluster.command("down")
def down(
    file: Annotated[Path, typer.Argument(help="File of Ray's cluster launcher (YAML).", show_default=False)],
) -> None:
    """End a cluster: Ray on its workers first, which `ray down` leaves to themselves on one's own machines."""
    down_or_complain(read_cluster_file(file))


def down_or_complain(file: ClusterFile) -> None:
    """Bring a cluster down. Raises ClusterError with a line for each machine where that did not work."""
    problems = bring_down(file, lambda line: err.print(line, markup=False, highlight=False, soft_wrap=True))
    if problems:
        raise ClusterError("\n".join(problems))
    out.print(f"{file.where}: down", markup=False, highlight=False, soft_wrap=True)
