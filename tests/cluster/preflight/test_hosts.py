"""`cluster check --ssh` on machines that a program named ssh plays: it is all that is not real here.

The real thing, against sshd on several hosts, is what the sessions of tests/cluster with namespaces do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from gaelp_ray.cli.main import main
from gaelp_ray.cluster.file import read_cluster_file
from gaelp_ray.cluster.preflight.hosts import ASKED, try_hosts
from gaelp_ray.errors import InputError

# Answers as a host would whose name is the word before the last; what differs stands in a file of that name.
FAKE = """\
#!/bin/sh
for word; do host=$next; next=$word; done
script=$(cat)
echo "$@" >>"{folder}/asked"
if [ -f "{folder}/$host.dead" ]; then echo "ssh: connect to host $host port 22: Connection refused" >&2; exit 255; fi
if [ -f "{folder}/$host.slow" ]; then exec sleep 30; fi
case $script in
  *rsync*) cat "{folder}/$host" 2>/dev/null || cat "{folder}/usual" ;;
  mkdir*) mkdir -p "{folder}/nfs"; eval "$(echo "$script" | sed 's#/mnt/nfs#{folder}/nfs#g')" ;;
  cat*|rm*) [ -f "{folder}/$host.alone" ] || eval "$(echo "$script" | sed 's#/mnt/nfs#{folder}/nfs#g')" ;;
esac
"""
USUAL = "python=3.12.3\nvenv=yes\nrsync=yes\nfree=41943040\n"


@pytest.fixture
def hosts(desk, tmp_path, monkeypatch):
    """The folder where hosts are described."""
    folder = tmp_path / "hosts"
    folder.mkdir()
    (folder / "ssh").write_text(FAKE.format(folder=folder), encoding="utf-8")
    (folder / "ssh").chmod(0o755)
    (folder / "usual").write_text(USUAL, encoding="utf-8")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    desk.write()
    return folder


def lines(desk, storage=None):
    return [host.line for host in try_hosts(read_cluster_file(desk.write()), storage)]


def test_each_host_is_one_line(desk, hosts):
    assert lines(desk) == [
        "10.1.0.1 (head): Python 3.12.3, rsync, 40 GB free",
        "10.1.0.2 (worker): Python 3.12.3, rsync, 40 GB free",
        "10.1.0.3 (worker): Python 3.12.3, rsync, 40 GB free",
    ]


def test_it_logs_in_as_the_launcher_will_and_never_asks(desk, hosts):
    lines(desk)
    asked = (hosts / "asked").read_text(encoding="utf-8").splitlines()
    assert len(asked) == 3
    for words in asked:
        assert f"-i {desk.home}/.ssh/id_ed25519 -l ada" in words
        assert "BatchMode=yes" in words


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (USUAL.replace("rsync=yes\n", ""), "no rsync"),
        (USUAL.replace("python=3.12.3\n", ""), "no python3"),
        (USUAL.replace("venv=yes\n", ""), "apt-get install python3-venv"),
        (USUAL.replace("3.12.3", "3.9.2"), "Python 3.9.2 is older than 3.10"),
        (USUAL.replace("3.12.3", "3.12.4"), "Python 3.12.4: others have 3.12.3"),
        (USUAL.replace("41943040", "1048576"), "1.0 GB are free at home"),
        (USUAL + "unreachable=10.1.0.9\n", "it does not reach 10.1.0.9 at port 22"),
        ("", "no python3"),
    ],
)
def test_what_a_host_lacks_is_said(desk, hosts, told, said):
    (hosts / "10.1.0.2").write_text(told, encoding="utf-8")
    first, second, third = lines(desk)
    assert said in second
    assert said not in first + third


def test_a_host_that_is_away_is_named_with_sshs_own_words(desk, hosts):
    (hosts / "10.1.0.3.dead").touch()
    assert lines(desk)[2] == "10.1.0.3 (worker): no ssh: ssh: connect to host 10.1.0.3 port 22: Connection refused"


def test_hosts_are_asked_at_a_time_and_none_for_long(desk, hosts, monkeypatch):
    monkeypatch.setattr("gaelp_ray.cluster.preflight.hosts.SECONDS", 2.0)
    for number in (1, 2, 3):
        (hosts / f"10.1.0.{number}.slow").touch()
    begun = time.monotonic()
    assert all("no answer within" in line for line in lines(desk))
    assert time.monotonic() - begun < 5.5  # one after the other takes six


TOGETHER = """\
#!/bin/sh
touch "{folder}/asked-$$"
for _ in $(seq 200); do [ $(ls "{folder}" | grep -c asked-) = 4 ] && exit 1; sleep 0.05; done
"""


def test_workers_behind_a_firewall_are_waited_for_all_at_a_time(tmp_path, monkeypatch):
    (tmp_path / "timeout").write_text(TOGETHER.format(folder=tmp_path), encoding="utf-8")
    (tmp_path / "timeout").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script = ASKED.format(python="python3", others="w1 w2 w3 w4")
    said = subprocess.run(["bash", "-s"], input=script, capture_output=True, text=True, check=True).stdout.splitlines()
    assert sorted(line for line in said if "unreachable" in line) == [f"unreachable=w{n}" for n in (1, 2, 3, 4)]


def test_a_shared_folder_is_found_shared_and_left_clean(desk, hosts):
    assert not any("does not see" in line for line in lines(desk, "/mnt/nfs"))
    assert list((hosts / "nfs").iterdir()) == []


def test_a_folder_that_one_host_has_for_itself_is_refused(desk, hosts):
    (hosts / "10.1.0.2.alone").touch()
    assert ["does not see in /mnt/nfs" in line for line in lines(desk, "/mnt/nfs")] == [False, True, False]


def test_a_cloud_has_no_addresses_yet(desk, hosts):
    with pytest.raises(InputError, match="--ssh needs the addresses of a local provider"):
        try_hosts(read_cluster_file(desk.write("deploy/aws.yaml")))


def test_the_command_ends_with_2_where_a_host_lacks_something(desk, hosts, monkeypatch, capsys):
    (hosts / "10.1.0.3").write_text(USUAL.replace("rsync=yes\n", ""), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", "cluster", "check", "cluster.yaml", "--ssh", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert [bool(host["problems"]) for host in json.loads(said.out)["hosts"]] == [False, False, True]
    assert said.err.count("\n") == 1
