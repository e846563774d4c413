"""Which machines, and how many: addresses of one's own, node types of a cloud's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from gaelp_ray.cluster.file import PLACEHOLDER, ClusterFile, Finding
from gaelp_ray.errors import did_you_mean

LOOPBACK = re.compile(r"127\.|localhost$|::1$")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+")


def placeholder_findings(file: ClusterFile) -> Iterator[Finding]:
    """Places that somebody has still to fill in."""
    for number, line in enumerate(file.text.splitlines(), 1):
        if PLACEHOLDER in line.split(" #")[0] and not line.lstrip().startswith("#"):
            key = line.split(":")[0].strip(" -")
            yield Finding((), f"{key} still says {PLACEHOLDER}", "write your own value", line=number)


def address_findings(file: ClusterFile) -> Iterator[Finding]:
    """Provider local: where the machines are."""
    if file.provider != "local":
        return
    for key in ("head_node", "worker_nodes", "available_node_types"):
        if file.get(key):
            yield Finding((key,), "machines of your own are all of one type", "remove it")
    if file.get("provider", "coordinator_address"):
        if file.get("max_workers") is None:
            yield Finding((), "max_workers is missing", "say how many machines the coordinator may give")
        return
    for key in ("head_ip", "worker_ips"):
        if file.get("provider", key) is None:
            yield Finding(
                ("provider",), f"{key} is missing", "write the address of the head, or a list of the workers'"
            )
    yield from _address_by_address(file)
    yield from _local_counts(file)


def _address_by_address(file: ClusterFile) -> Iterator[Finding]:
    head = file.string("provider", "head_ip")
    workers = file.strings("provider", "worker_ips")
    counts = Counter(workers)
    named = [(("provider", "head_ip"), head), *((("provider", "worker_ips", n), w) for n, w in enumerate(workers))]
    for number, (path, address) in enumerate(named):
        if not address or PLACEHOLDER in address:
            continue
        if not HOST.fullmatch(address):
            yield Finding(
                path, f"{address!r} is no address", "write a host's name or IP address, without user and port"
            )
        elif LOOPBACK.match(address) and workers:
            yield Finding(
                path, f"{address} is another machine on every machine", "write the address that the others see"
            )
        if number and address == head:
            yield Finding(path, f"{address} is the head, too", "leave it out: the head runs trials as well")
        elif number and counts[address] > 1 and workers.index(address) < number - 1:
            yield Finding(path, f"{address} stands twice among the workers", "keep one")


def _local_counts(file: ClusterFile) -> Iterator[Finding]:
    there = len(file.strings("provider", "worker_ips"))
    most, least = file.number("max_workers"), file.number("min_workers")
    if most is not None and most < there and least is None:  # the least is then as many as there are
        what = f"{there} workers are to start, and {most} may"
        yield Finding(("max_workers",), what, "leave max_workers out, or write a min_workers")
    elif most is not None and most != there:
        used = f"only {most} of {there} workers are used" if most < there else f"there are {there} workers, not {most}"
        yield Finding(("max_workers",), used, "leave max_workers out", warning=True)
    if least is not None and most is not None and least > most:
        yield Finding(("min_workers",), f"min_workers {least} is above max_workers {most}", "leave both out")
    elif least is not None and least > there:
        yield Finding(
            ("min_workers",), f"there are {there} workers, not {least}", "leave min_workers out", warning=True
        )


def type_findings(file: ClusterFile) -> Iterator[Finding]:
    """Clouds: node types, and how many of each."""
    if file.provider in ("local", ""):
        return
    types = file.node_types
    if file.get("min_workers") is not None:
        what = "Ray ignores min_workers at the top"
        yield Finding(("min_workers",), what, "write it below a node type", warning=True)
    if not types:
        remedy = "write node types: those of deploy/ are a start"
        yield Finding((), f"no available_node_types, so Ray takes its own for {file.provider}", remedy, warning=True)
        return
    head = file.string("head_node_type")
    if not head:
        yield Finding((), "head_node_type is missing", f"name one of {', '.join(types)}")
    elif head not in types:
        yield Finding(("head_node_type",), f"{head!r} is no node type", did_you_mean(head, types))
    yield from _counts(file)
    for name in types:
        yield from _of_cloud(file, name, name == head)


def _counts(file: ClusterFile) -> Iterator[Finding]:
    limit = file.number("max_workers")
    limit = 2 if limit is None else limit  # of Ray's defaults
    total = 0
    for name in file.node_types:
        path = ("available_node_types", name)
        least, most = file.number(*path, "min_workers") or 0, file.number(*path, "max_workers")
        total += least
        if most is not None and least > most:
            what = f"min_workers {least} is above max_workers {most}"
            yield Finding((*path, "min_workers"), what, "lower it, or raise max_workers")
        if most is not None and most > limit:
            what = f"max_workers {most} is above {limit}, the whole cluster's"
            yield Finding((*path, "max_workers"), what, "lower it, or raise max_workers at the top")
    if total > limit:
        at = ("max_workers",) if file.get("max_workers") is not None else ()
        yield Finding(at, f"{total} workers are to start at least, and {limit} may at most", "raise max_workers")
    if limit == 0:
        yield Finding(("max_workers",), "no worker may start", "raise max_workers", warning=True)


def _of_cloud(file: ClusterFile, name: str, is_head: bool) -> Iterator[Finding]:
    path = ("available_node_types", name)
    config, resources = file.mapping(*path, "node_config"), file.mapping(*path, "resources")
    if file.provider == "aws":
        if "ImageId" not in config:
            what = "no ImageId, and Ray's own image is Ubuntu 18.04, whose Python is too old"
            yield Finding((*path, "node_config"), what, "name an image, such as Ubuntu 24.04 in your region")
        market = config.get("InstanceMarketOptions")
        spot = isinstance(market, dict) and market.get("MarketType") == "spot"
    else:
        if file.provider == "gcp" and "machineType" in config and "CPU" not in resources:
            what = "nobody asks GCP what a machine has, and without CPU no trial makes one start"
            yield Finding((*path, "resources"), what, "write {CPU: 8}, as the machineType has")
        spot = "SPOT" in str(config.get("scheduling")) or "'preemptible': True" in str(config.get("scheduling"))
    if is_head and spot:
        what = "the head may be taken away at any time, and the cluster with it"
        yield Finding((*path, "node_config"), what, "make it an on-demand machine", warning=True)
    if file.provider == "gcp" and is_head and not file.get("provider", "project_id"):
        yield Finding(("provider",), "project_id is missing", "write the id of your project")
