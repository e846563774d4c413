"""Machines of one's own, tried over SSH as the launcher will: all at a time, each for 30 s. Start at try_hosts()."""

from __future__ import annotations

import re
import secrets
import shlex
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from gaelp_ray.cluster.file import ClusterFile
from gaelp_ray.cluster.ssh import Login, require_ssh, said_by
from gaelp_ray.errors import InputError

SECONDS, AT_ONCE = 30.0, 16
NEEDED_GB = 4.0
"""Free space for the virtual environment and Ray's files; measured 1.1 GB for the former, and 0.3 GB of wheels."""

ASKED = """
p=$(command -v {python}) && echo python=$($p -c 'import platform; print(platform.python_version())')
[ -n "$p" ] && $p -c 'import ensurepip, venv' 2>/dev/null && echo venv=yes
command -v rsync >/dev/null && echo rsync=yes
echo free=$(df -Pk ~ | tail -1 | awk '{{print $4}}')
for there in {others}; do
  (timeout 3 bash -c "exec 3<>/dev/tcp/$there/22" 2>/dev/null || echo unreachable=$there) &
done
wait
"""


@dataclass(frozen=True)
class Host:
    """One machine, and what it lacks; `problems` is empty for one that can join."""

    address: str
    role: str
    python: str = ""
    free_gb: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """For a person."""
        if self.problems:
            return f"{self.address} ({self.role}): {'; '.join(self.problems)}"
        return f"{self.address} ({self.role}): Python {self.python}, rsync, {self.free_gb:.0f} GB free"


def try_hosts(file: ClusterFile, storage: str | None = None) -> list[Host]:
    """Log in on every machine that the file names, and see what is there; of a folder, whether all share it.

    The folder gets a file for a moment. Raises InputError where there is nobody to ask.
    """
    head, workers = file.hosts
    if file.provider != "local" or not head:
        raise InputError(f"{file.where}: --ssh needs the addresses of a local provider, and none are written here")
    require_ssh()
    named = [(file.string("provider", "external_head_ip") or head, "head"), *((each, "worker") for each in workers)]
    found = re.search(r"install\.sh ([\w./~-]+)", " ".join(text for _, text in file.commands("setup_commands")))
    python = found[1] if found else "python3"
    login = Login.of(file.mapping("auth"))

    def ask(place: tuple[str, str]) -> Host:
        others = " ".join(map(shlex.quote, workers)) if place[1] == "head" else ""
        said, problem = said_by(login, place[0], ASKED.format(python=python, others=others), SECONDS)
        return _judged(Host(*place), said, problem, python)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        hosts = list(pool.map(ask, named))
        if storage and storage.startswith("/"):
            hosts = _sharing(hosts, login, storage, pool)
    return _of_one_python(hosts)


def _judged(host: Host, said: Sequence[str], problem: str, python: str) -> Host:
    if problem:
        return replace(host, problems=(problem,))
    facts = [line.partition("=")[::2] for line in said if "=" in line]
    told = dict(facts)
    version = told.get("python", "")
    free = int(told.get("free") or 0) / 2**20
    checks = {
        f"no {python}: install it, or name another in setup_commands": not version,
        f"Python {version} is older than 3.10: name another in setup_commands": 0 < _minor(version) < 10,
        f"{python} cannot make virtual environments: on Debian, apt-get install python3-venv": (
            bool(version) and "venv" not in told
        ),
        "no rsync, by which files are sent: install it": "rsync" not in told,
        f"{free:.1f} GB are free at home, and {NEEDED_GB:g} are needed": free < NEEDED_GB,
    }
    problems = [text for text, is_so in checks.items() if is_so]
    problems += [f"it does not reach {there} at port 22" for key, there in sorted(facts) if key == "unreachable"]
    return replace(host, python=version, free_gb=free, problems=tuple(problems))


def _minor(version: str) -> int:
    parts = version.split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def _of_one_python(hosts: list[Host]) -> list[Host]:
    """Ray lets nobody join whose Python has another version, patch included."""
    counts = Counter(host.python for host in hosts if host.python)
    if len(counts) < 2:
        return hosts
    usual = counts.most_common(1)[0][0]
    text = f"others have {usual}, and Ray connects equal Pythons only: install one, and name it in setup_commands"
    odd = [bool(host.python) and host.python != usual for host in hosts]
    return [
        replace(host, problems=(*host.problems, f"Python {host.python}: {text}")) if is_odd else host
        for host, is_odd in zip(hosts, odd, strict=True)
    ]


def _sharing(hosts: list[Host], login: Login, storage: str, pool: ThreadPoolExecutor) -> list[Host]:
    """Those that do not see what the head writes to the storage."""
    reached = [host for host in hosts if host.python]
    if not reached or reached[0].role != "head":
        return hosts
    token = secrets.token_hex(8)
    folder, file = shlex.quote(storage), shlex.quote(f"{storage}/.gaelp-{token}")
    script = f"mkdir -p {folder} && echo {token} > {file} && echo yes"
    wrote, _ = said_by(login, reached[0].address, script, SECONDS)
    if wrote != ["yes"]:
        lacks = {reached[0].address: f"cannot write to {storage}"}
    else:
        seen = pool.map(lambda host: said_by(login, host.address, f"cat {file}", SECONDS)[0], reached[1:])
        text = f"does not see in {storage} what the head writes there: mount one folder on all machines"
        lacks = {host.address: text for host, said in zip(reached[1:], seen, strict=True) if said != [token]}
        said_by(login, reached[0].address, f"rm -f {file}", SECONDS)
    return [
        replace(host, problems=(*host.problems, lacks[host.address])) if host.address in lacks else host
        for host in hosts
    ]
