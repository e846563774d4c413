"""The machines are apart where machines are, and nothing is left of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from reliability.stage import short_folder, until

from ssh_hosts.hosts import HEAD, LAPTOP, ROOT, WORKERS, Process, SshHosts, why_not

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]

HELD = """
import sys, time
from pathlib import Path
from ssh_hosts.hosts import SshHosts
with SshHosts(Path(sys.argv[1]), {}, ["alone"]) as hosts:
    print(*hosts.spaces.values(), flush=True)
    time.sleep(300)
"""


def said(words: list[str]) -> str:
    """What a command prints, and it ends well."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fails(words: list[str]) -> bool:
    return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode != 0


def started(hosts: SshHosts, command: str) -> Process:
    """The process of a command, which ssh does not wait for."""
    until(lambda: any(process.command == command for process in hosts.processes()), command, 60)
    return next(process for process in hosts.processes() if process.command == command)


@pytest.fixture(scope="module")
def hosts():
    base = short_folder("gr-hosts-")
    (base / "nfs").mkdir()
    with SshHosts(base, {"/mnt": base / "nfs"}) as hosts:
        yield hosts
    shutil.rmtree(base)


def test_the_laptop_logs_in_on_each_and_each_is_another_machine(hosts):
    facts = "hostname; readlink /proc/self/ns/net /proc/self/ns/mnt /proc/self/ns/ipc; cat /proc/1/comm"
    answers = [said(hosts.ssh(name, facts)).splitlines() for name in hosts.addresses]
    assert [answer[0] for answer in answers] == [HEAD, *WORKERS]
    for number in (1, 2, 3):
        assert len({answer[number] for answer in answers}) == 3
    assert said(hosts.words("hostname")) == LAPTOP


def test_disks_are_each_machines_own_and_are_seen_from_here(hosts):
    for name in hosts.addresses:
        said(hosts.ssh(name, f"echo {name} | tee /tmp/mine > /root/mine; echo {name} > /dev/shm/mine"))
    for name in hosts.addresses:
        assert said(hosts.ssh(name, "cat /tmp/mine /root/mine /dev/shm/mine")).split() == [name] * 3
        assert hosts.disk(name, "/root/mine").read_text() == f"{name}\n"
    assert fails(hosts.words("cat", "/tmp/mine"))
    assert not Path("/tmp/mine").exists() and not Path("/dev/shm/mine").exists()


def test_what_is_shared_is_one_folder_for_all(hosts):
    for name in hosts.addresses:
        said(hosts.ssh(name, f"echo {name} >> /mnt/all"))
    assert said(hosts.words("cat", "/mnt/all")).split() == [HEAD, *WORKERS]
    assert (hosts.shared["/mnt"] / "all").read_text().split() == [HEAD, *WORKERS]


def test_hosts_have_the_python_but_neither_the_repository_nor_its_environment(hosts):
    python = os.path.realpath(sys.executable)
    assert said(hosts.ssh(HEAD, f"{python} -c 'import sys; print(sys.version)'")) == sys.version.replace("\n", "")
    assert fails(hosts.ssh(HEAD, f"{python} -c 'import gaelp_ray'"))
    assert said(hosts.ssh(HEAD, f"find {ROOT} -name '*.py' 2>/dev/null | wc -l")) == "0"
    assert said(hosts.words(sys.executable, "-c", "import gaelp_ray; print('here')")) == "here"


def test_hosts_reach_one_another_and_nobody_else(hosts):
    port = "exec 3<>/dev/tcp/{}/{}"
    said(hosts.ssh(HEAD, port.format(hosts.addresses["worker-2"], 22)))
    assert fails(hosts.ssh(HEAD, f"timeout 2 bash -c '{port.format('192.0.2.1', 80)}'"))
    assert fails(hosts.words("bash", "-c", port.format("192.0.2.1", 80)))
    assert said(hosts.words("sh", "-c", "ip -o link show up | grep -vc 'lo:\\|br0\\|cable'  || true")) == "0"


def test_what_runs_and_what_it_has_open_is_seen_from_here(hosts):
    script = "exec 3>/root/log; nohup sleep 287 >/dev/null 2>&1 & cat /proc/sys/kernel/hostname"
    assert said(hosts.ssh("worker-1", script)) == "worker-1"
    sleeping = started(hosts, "sleep 287")
    assert sleeping.machine == "worker-1"
    assert "/root/log" in sleeping.files()
    os.kill(sleeping.pid, signal.SIGKILL)


def test_a_host_that_is_killed_is_gone_with_all_that_it_ran_and_its_disk_stays(hosts):
    said(hosts.ssh("worker-2", "echo kept > /root/kept; nohup sleep 288 >/dev/null 2>&1 &"))
    assert started(hosts, "sleep 288").machine == "worker-2"
    hosts.kill("worker-2")
    assert not any(process.machine == "worker-2" for process in hosts.processes())
    assert fails(hosts.words("bash", "-c", f"timeout 1 bash -c 'exec 3<>/dev/tcp/{hosts.addresses['worker-2']}/22'"))
    assert hosts.disk("worker-2", "/root/kept").read_text() == "kept\n"
    assert said(hosts.ssh("worker-1", "hostname")) == "worker-1"


def living() -> set[str]:
    """Of all processes here."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.add(os.readlink(folder / "ns/pid"))
            except OSError:
                continue
    return found


def test_nothing_is_left_when_the_block_ends(tmp_path):
    with SshHosts(tmp_path / "base", {}, ["alone"]) as hosts:
        said(hosts.ssh("alone", "setsid nohup sleep 289 >/dev/null 2>&1 &"))
        made = set(hosts.spaces.values())
        assert made <= living()
    assert not made & living()
    below = "/".join(tmp_path.parts[-3:])  # what a /tmp that is a file system of its own is seen with
    assert below not in Path("/proc/self/mountinfo").read_text()
    shutil.rmtree(tmp_path / "base")


def test_nothing_runs_on_when_who_holds_them_is_killed(tmp_path):
    words = [sys.executable, "-c", HELD, str(tmp_path / "base")]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    holder = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
    made = set(holder.stdout.readline().split())
    assert len(made) == 2 and made <= living()
    holder.kill()
    holder.communicate()
    until(lambda: not made & living(), "the end of its processes", 60)
