"""A cluster that runs already, before a sweep is started on it: whether it can be, on every node of it.

What speaks against it is told at once, by node, and nothing has been started by then. Start at cluster_for().
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.exceptions import RayError

from gaelp_ray.errors import InputError, ResourceError
from gaelp_ray.sweep.planning.cluster import CLIENT, Cluster, cluster_at
from gaelp_ray.sweep.planning.errand import Errand, ask
from gaelp_ray.sweep.planning.placement import placement
from gaelp_ray.sweep.planning.plan import SweepPlan
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.session import ASKED, ray_session
from gaelp_ray.sweep.store.folder import SweepFolder

PROBE_SECONDS = 120.0
"""For all nodes to answer; measured 1.5 s for three on two cores, 3.9 to 5.2 s where those are busy.

Only nodes that do not answer are waited for as long, and one under load should not be refused.
"""

TOKEN = "token"


def cluster_for(plan: SweepPlan, folder: SweepFolder, address: str) -> tuple[Cluster, str]:
    """The cluster at an address, on which the sweep can run, and what a person should know first.

    Raises InputError: no cluster, ray://, a trial that no node has room for, or a line for each node that is no place
    for the sweep.
    """
    require_driver(address)
    cluster = cluster_at(address)
    note = _room(plan, cluster)
    with _token(plan, folder) as errand, ray_session({}, cluster.address):
        faults = faulty(errand)
    if faults:
        raise InputError("\n".join(f"node {node}: {fault}" for node, fault in faults.items()))
    return cluster, note


def require_driver(address: str) -> None:
    """Raises InputError for ray://, through which Tune would run without our journal, searchers and schedulers."""
    if address.startswith(CLIENT):
        raise InputError(
            f"--address {address}: a sweep needs its driver on a node of the cluster, and {CLIENT} is none: run this "
            "on one of its nodes with --address auto, or from here `gaelp-ray sweep FILE` or `gaelp-ray submit`"
        )


def _room(plan: SweepPlan, cluster: Cluster) -> str:
    """What to say of trials that fit on no node that is alive. Raises ResourceError where none could ever be."""
    wanted = plan.spec.resources
    place = placement(wanted, plan.spec.max_concurrent, len(plan.trials), cluster)
    if not cluster.grows:
        place.require_possible()
    if not place.problem:
        return ""
    if not cluster.types:
        return f"{place.problem}. The cluster may grow: trials wait until it has a node that is large enough"
    largest = Cluster(cluster.address, cluster.types)
    if problem := placement(wanted, plan.spec.max_concurrent, len(plan.trials), largest).problem:
        raise ResourceError(f"{problem}, and that is the largest which the cluster may add: ask for less")
    return ""


@contextmanager
def _token(plan: SweepPlan, folder: SweepFolder) -> Iterator[Errand]:
    """Something in the storage that nobody else can have, gone when the block ends."""
    token = secrets.token_hex(8)
    if folder.remote:
        place, file = folder.remote.address.parent.resolved, f".gaelp-ray-{token}"
        bucket = Bucket(place)
        bucket.write(file, token.encode())
        try:
            yield Errand.of(str(place), True, (file, token), plan.market)
        finally:
            bucket.remove(file)
        return
    storage = folder.path.parent
    storage.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".gaelp-ray-", dir=storage))
    scratch.chmod(storage.stat().st_mode & 0o777)  # a node's Ray may run as somebody else
    try:
        (scratch / TOKEN).write_text(token, encoding="utf-8")
        yield Errand.of(storage, False, (f"{scratch.name}/{TOKEN}", token), plan.market)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def faulty(errand: Errand) -> dict[str, str]:
    """Of the nodes that are alive, those that are no place for the sweep, by name, and why."""
    names = alive()
    ASKED.clear()
    ASKED.update(names)
    asked = {ask(node, errand): node for node in names}
    ray.wait(list(asked), num_returns=len(asked), timeout=PROBE_SECONDS)
    answers = {names[node]: answer(reference) for reference, node in asked.items()}
    return {name: found for name, found in sorted(answers.items()) if found}


def alive() -> dict[str, str]:
    """Node id -> a name that a person knows it by."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return _named({node["NodeID"]: (node["NodeManagerHostname"], node["NodeManagerAddress"]) for node in nodes})


def _named(nodes: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """`host`; with its address where two have that name, and with its id where they share that, too."""
    forms: Sequence[dict[str, str]] = (
        {node: host for node, (host, _) in nodes.items()},
        {node: f"{host} ({address})" for node, (host, address) in nodes.items()},
        {node: f"{host} ({address}, {node[:8]})" for node, (host, address) in nodes.items()},
    )
    return next((form for form in forms if len(set(form.values())) == len(nodes)), forms[-1])


def answer(reference: ray.ObjectRef[str]) -> str:
    """What a node has answered; of one that is gone by now, nothing."""
    try:
        return str(ray.get(reference, timeout=0))
    except ray.exceptions.GetTimeoutError:
        return f"it has not answered within {PROBE_SECONDS:g} s: see `ray status`, or take it out of the cluster"
    except (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError):
        return ""
    except RayError as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return f"Ray cannot run anything there ({said}): see Ray's logs on it"
