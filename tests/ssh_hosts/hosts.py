"""A laptop and several hosts that it reaches by SSH, made of Linux namespaces on this machine. Start at SshHosts.

Each machine has its own network, processes, mounts, IPC and name; its own /tmp and /root, which are folders that stay
when it is killed, as a disk does; its own /run and /dev/shm. Hosts see neither this repository nor its environment,
and nobody sees the internet. From here one sees everything: every file, every process.

Nothing has a name outside. All ends with the laptop's first process, and that one with its standard input: when the
block ends, or however the process ends that holds it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ssh_hosts import inits

NETWORK = inits.GATEWAY.rpartition(".")[0]
ROOT = Path(__file__).resolve().parents[2]
PRIVATE = ("/tmp", "/root")
HEAD, WORKERS = "head", ("worker-1", "worker-2")
LAPTOP = "laptop"

SSHD = """\
HostKey /root/.sshd/key
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
UseDNS no
PrintMotd no
MaxStartups 100
MaxSessions 100
"""


def is_private(path: str) -> bool:
    """Whether it lies in a folder that each machine has for itself."""
    return any(Path(path).is_relative_to(target) for target in PRIVATE)


def why_not() -> str:
    """Why there can be no such machines here; empty where there can."""
    if os.geteuid() != 0:
        return "only root may make namespaces with networks"
    programs = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "ssh": "openssh-client"}
    programs |= {"ssh-keygen": "openssh-client", "/usr/sbin/sshd": "openssh-server", "rsync": "rsync"}
    for program, package in programs.items():
        if not shutil.which(program):
            return f"no {program}: on Debian, apt-get install {package}"
    links = "ip link add br0 type bridge && ip link add cable0 type veth peer name eth0 && mount -t tmpfs none /mnt"
    tried = subprocess.run(
        ["unshare", *inits.NAMESPACES, "sh", "-c", links], capture_output=True, text=True, check=False
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


@dataclass(frozen=True)
class Process:
    """A process of one of the machines. `pid` is this machine's number of it."""

    machine: str
    pid: int
    command: str

    def files(self) -> list[str]:
        """What it has open, as it calls it."""
        found = []
        try:
            for link in Path(f"/proc/{self.pid}/fd").iterdir():
                found.append(os.readlink(link))
        except OSError:  # it has ended
            pass
        return found


class SshHosts:
    """Machines, up while the block runs.

    base: an empty folder, for disks. shared: path on all machines -> folder here that they see there.
    addresses: of the hosts, by name. spaces: of processes, by machine's name, as /proc/PID/ns/pid calls them.
    """

    def __init__(self, base: Path, shared: Mapping[str, Path], names: Sequence[str] = (HEAD, *WORKERS)) -> None:
        self.base, self.shared = base, shared
        self.addresses = {name: f"{NETWORK}.{10 + number}" for number, name in enumerate(names)}
        self.spaces: Mapping[str, str] = {}
        for name in (LAPTOP, *names):
            for target in PRIVATE:
                self.disk(name, target).mkdir(parents=True)
        # Nobody is there: a name is refused at once, where a server out of reach would be waited for.
        (base / "resolv.conf").write_text("nameserver 127.0.0.1\n", encoding="utf-8")
        self._keys()

    def disk(self, name: str, path: str) -> Path:
        """A file of a machine, below /tmp or /root, as it is found from here."""
        return self.base / name / path.strip("/")

    def _keys(self) -> None:
        """The laptop's key, and sshd's own."""
        for file in ("key", "sshd"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.base / file)]
            subprocess.run(words, check=True)
        self._place(LAPTOP, self.base / "key", "/root/.ssh/id_ed25519")
        for name in self.addresses:
            self._place(name, self.base / "key.pub", "/root/.ssh/authorized_keys")
            self._place(name, self.base / "sshd", "/root/.sshd/key")
            self.disk(name, "/root/.sshd/config").write_text(SSHD, encoding="utf-8")
            self.disk(name, "/root/.bashrc").touch()

    def _place(self, name: str, source: Path, path: str) -> None:
        file = self.disk(name, path)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(source, file)
        file.chmod(0o600)

    def _mounts(self, name: str) -> list[list[str]]:
        """Words for mount(8), in an order in which each source is still there."""
        seen = {sys.base_prefix} | ({sys.prefix, str(ROOT)} if name == LAPTOP else set())
        mounts = []
        for path in sorted(map(os.path.realpath, seen)):
            if is_private(path):
                self.disk(name, path).mkdir(parents=True, exist_ok=True)
                mounts.append(["--rbind", path, str(self.disk(name, path))])
        for path, folder in self.shared.items():
            at = self.disk(name, path) if is_private(path) else Path(path)
            at.mkdir(parents=True, exist_ok=True)
            mounts.append(["--bind", str(folder), str(at)])
        names = Path("/etc/resolv.conf").resolve()
        if names.is_file() and not names.is_relative_to("/run"):  # which is empty below
            mounts.append(["--bind", str(self.base / "resolv.conf"), str(names)])
        for target in sorted(PRIVATE, key=lambda target: self.base.resolve().is_relative_to(target)):
            mounts.append(["--rbind", str(self.disk(name, target)), target])
        mounts += [["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"]]
        mounts += [["-t", "tmpfs", "-o", "mode=1777,size=2g", "tmpfs", "/dev/shm"]]
        hidden = {str(ROOT), sys.prefix} - seen
        inmost = sorted(hidden, reverse=True)  # an environment in the repository first: hidden with it, it is no place
        mounts += [["-t", "tmpfs", "tmpfs", path] for path in inmost if not is_private(path)]
        return mounts

    def __enter__(self) -> SshHosts:
        hosts = [
            {"name": name, "address": address, "mounts": self._mounts(name), "sshd": "/root/.sshd/config"}
            for name, address in self.addresses.items()
        ]
        told = {"name": LAPTOP, "mounts": self._mounts(LAPTOP), "hosts": hosts}
        pipe, words = subprocess.PIPE, [sys.executable, inits.__file__, "laptop"]
        with (self.base / "machines.log").open("w", encoding="utf-8") as log:
            command = ["unshare", *inits.NAMESPACES, *words]
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True)
        inits.tell(self._process.stdin, told)
        try:
            self.spaces = inits.heard(self._process.stdout)
        except EOFError:
            self._close()
            raise RuntimeError((self.base / "machines.log").read_text(encoding="utf-8")) from None
        (child,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._laptop = child
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def words(self, *words: str, folder: str = "/root", env: Mapping[str, str] | None = None) -> list[str]:
        """The command that runs one on the laptop, in a folder of it, with these variables only."""
        path = f"{sys.prefix}/bin:{os.environ['PATH']}"
        given = {"HOME": "/root", "PATH": path, "LANG": "C.UTF-8", "TERM": "dumb", **(env or {})}
        inside = ["nsenter", f"--target={self._laptop}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        return [*inside, "env", "-i", "-C", folder, *(f"{name}={value}" for name, value in given.items()), *words]

    def ssh(self, name: str, script: str) -> list[str]:
        """Words that run a script on a host, from the laptop."""
        quiet = [word for option in ("StrictHostKeyChecking=no", "LogLevel=ERROR") for word in ("-o", option)]
        return self.words("ssh", *quiet, "-o", "ConnectTimeout=10", f"root@{self.addresses[name]}", script)

    def processes(self) -> Iterator[Process]:
        """All that run on the machines now."""
        names = {space: name for name, space in self.spaces.items()}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                space = os.readlink(folder / "ns/pid")
                if space in names:
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    yield Process(names[space], int(folder.name), command)
            except OSError:  # it has ended
                continue

    def memories(self) -> list[Path]:
        """What hosts that are up have in files that are on no disk."""
        first = {process.machine: process.pid for process in self.processes() if _number(process.pid) == 1}
        return [Path(f"/proc/{pid}/root/dev/shm") for pid in first.values()]

    def kill(self, name: str) -> None:
        """Pull the plug: everything on the host is gone at once, but its disk."""
        (first,) = [each.pid for each in self.processes() if each.machine == name and _number(each.pid) == 1]
        os.kill(first, signal.SIGKILL)
        end = time.monotonic() + 60
        while any(process.machine == name for process in self.processes()):
            if time.monotonic() > end:
                raise TimeoutError(f"{name} does not die")
            time.sleep(0.02)


def _number(pid: int) -> int:
    """What a process's machine calls it, whose first one is 1; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    (line,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
    return int(line.split()[-1])
