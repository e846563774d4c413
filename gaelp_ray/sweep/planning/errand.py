"""What a node of a cluster is asked before it gets a trial: has it this package, and does it see the sweep's storage?

The question runs on the node itself, as a task that takes no CPU. Start at ask().
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gaelp_ray.errors import OwnEnvError, StorageError
from gaelp_ray.simulator.own import OwnEnv
from gaelp_ray.sweep.remote.address import Address
from gaelp_ray.sweep.remote.bucket import Bucket
from gaelp_ray.sweep.remote.sweep import require_writable

APPEARS_SECONDS = 2.0
"""In which a file that was just written is there for other nodes, too; NFS keeps what it knew for a moment."""


@dataclass(frozen=True)
class Errand:
    """What a node must see: `file` in `storage`, which a driver has written with `token` in it.

    version: of this package. remote: whether the storage is a URL. env: of an environment of the user's own.
    """

    storage: str
    remote: bool
    file: str
    token: str
    version: str
    env: Mapping[str, str] | None = None

    @classmethod
    def of(cls, storage: str | Path, remote: bool, seen: tuple[str, str], world: object) -> Errand:
        """For this version of the package; `seen` is the file and the token."""
        env = world.model_dump(mode="json") if isinstance(world, OwnEnv) else None
        return cls(str(storage), remote, *seen, version=metadata.version("gaelp_ray"), env=env)


def ask(node: str, errand: Errand) -> ray.ObjectRef[str]:
    """Ask the node with an id; the answer is why it is no place for the sweep, empty where it is one."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(_traveller())
    reference: ray.ObjectRef[str] = task.options(scheduling_strategy=there).remote(asdict(errand))
    return reference


def _traveller() -> Callable[[Mapping[str, Any]], str]:
    # A function of a function travels whole, where one of a module is looked up: the node may not have the module.
    def look(errand: Mapping[str, Any]) -> str:
        from importlib import metadata

        needed = f"gaelp_ray {errand['version']}"
        try:
            found = metadata.version("gaelp_ray")
        except metadata.PackageNotFoundError:
            return f"gaelp_ray is not installed there: install {needed} on it"
        if found != errand["version"]:
            return f"it has gaelp_ray {found}, and this is {errand['version']}: install the same on both"
        try:
            from gaelp_ray.sweep.planning.errand import Errand, fault
        except ImportError as error:
            return f"gaelp_ray cannot be imported there ({error}): install {needed} with all that it needs"
        return fault(Errand(**errand))

    return look


def fault(errand: Errand) -> str:
    """On the node: what it cannot do for the sweep, in one line with a remedy; empty for nothing."""
    found = _bucket_fault(errand) if errand.remote else _folder_fault(errand)
    if found or errand.env is None:
        return found
    try:
        _ = OwnEnv(**errand.env).make
    except OwnEnvError as error:
        return f"{error}; on a cluster, that is a folder which all nodes see, or a package which all have"
    return ""


def _folder_fault(errand: Errand) -> str:
    storage = Path(errand.storage)
    remedy = "put it where all nodes see it as that, such as on NFS, or give s3://bucket/prefix with --storage"
    deadline = time.monotonic() + APPEARS_SECONDS
    while not (storage / errand.file).is_file():
        if time.monotonic() > deadline:
            return f"it does not see the storage folder {storage}: {remedy}"
        time.sleep(0.1)
    try:
        if errand.token not in (storage / errand.file).read_text(encoding="utf-8"):
            return f"{storage} is another folder there: {remedy}"
        with tempfile.TemporaryFile(dir=storage) as file:
            file.write(b"can be written")
    except OSError as error:
        return f"it cannot write to the storage folder {storage} ({error.strerror}): {remedy}"
    return ""


def _bucket_fault(errand: Errand) -> str:
    address = Address.parse(errand.storage)
    try:
        found = Bucket(address, attempts=1).read(errand.file) or b""
        if errand.token not in found.decode(errors="replace"):
            return f"{address} is another bucket there: check AWS_ENDPOINT_URL, and whose credentials it has"
        require_writable(address)
    except StorageError as error:
        return f"it cannot use the storage {error}"
    return ""
