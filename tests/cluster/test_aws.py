"""deploy/aws.yaml brought up, used and ended by Ray's own commands: moto plays the cloud, and nobody can log in to it.

`ssh` and `rsync` are programs of the test's: both write down what is asked of them, and rsync keeps what it is to send,
in a folder for each machine. Nothing of Ray is changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from amazon import Amazon

pytestmark = pytest.mark.slow

FILE = "deploy/aws.yaml"
SECRETS = KEY, TOKEN = "5ec2e7" * 7, "70ce4" * 10
LOOK = 'echo "$HOME"; nproc'

REACH_NOBODY = f"""#!{sys.executable} -IS
import json, os, shutil, sys
base = os.path.dirname(os.path.dirname(sys.argv[0]))
name = os.path.basename(sys.argv[0])
with open(os.path.join(base, "asked"), "a") as asked:
    asked.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
if name == "rsync":
    source, target = sys.argv[-2:]
    machine, _, path = target.rpartition("@")[2].partition(":~/")
    place = os.path.join(base, machine, path)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    shutil.copytree(source, place, dirs_exist_ok=True) if os.path.isdir(source) else shutil.copy2(source, place)
"""

AUTOSCALER = """
import os, sys, time
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler.v2.instance_manager.config import FileConfigReader
from ray.autoscaler.v2.instance_manager.node_provider import NodeProviderAdapter
from ray.autoscaler.v2.instance_manager.ray_installer import RayInstaller
from ray.core.generated.instance_manager_pb2 import Instance

reader = FileConfigReader(os.path.expanduser("~/ray_bootstrap_config.yaml"))
config = reader.get_cached_autoscaling_config()
provider = _get_node_provider(config.get_provider_config(), config.get_config("cluster_name"))
cloud = NodeProviderAdapter(provider, reader)
cloud.launch({"worker": 1}, "a trial waits")
deadline = time.monotonic() + 600
while not (found := [id for id, node in cloud.get_non_terminated().items() if node.node_type == "worker"]):
    assert time.monotonic() < deadline and not cloud.poll_errors()
    time.sleep(0.1)
RayInstaller(provider, config).install_ray(Instance(cloud_instance_id=found[0], instance_type="worker"), sys.argv[1])
"""
"""What Ray's autoscaler does on the head when a trial waits, with its own parts and the file that the head was sent."""


@dataclass
class Person:
    """Somebody with a desk and an account at a cloud, who asks machines that are not there."""

    base: Path
    desk: Any
    cloud: Amazon

    @property
    def ec2(self) -> Any:
        return self.cloud.client("ec2")

    def run(self, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_"))}
        own = {"HOME": str(home or self.desk.home), "TMPDIR": str(self.base / "tmp"), "RAY_USAGE_STATS_ENABLED": "0"}
        path = {"PATH": f"{self.base / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        told = {"cwd": self.desk.work, "env": kept | own | path | self.cloud.env, "timeout": 600}
        return subprocess.run([sys.executable, *words], **told, capture_output=True, text=True, check=False)

    def ray(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "ray.scripts.scripts", *words)

    def machines(self) -> dict[str, dict[str, Any]]:
        """Each by the node type that Ray has written on it."""
        groups = self.ec2.describe_instances()["Reservations"]
        return {
            next(tag["Value"] for tag in machine["Tags"] if tag["Key"] == "ray-user-node-type"): machine
            for group in groups
            for machine in group["Instances"]
        }

    def asked(self) -> list[list[str]]:
        """All calls of ssh and rsync, in order, as (program, machine, what)."""
        calls = [json.loads(line) for line in (self.base / "asked").read_text(encoding="utf-8").splitlines()]
        return [split(call) for call in calls]


def split(call: list[str]) -> list[str]:
    if call[0] == "rsync":
        machine, _, path = call[-1].partition(":")
        return ["rsync", machine, path]
    return ["ssh", next(word for word in call[2:] if "@" in word), call[-1]]


@dataclass(frozen=True)
class Story:
    """What each step asked of ssh and rsync, and said; the machines after it."""

    person: Person
    asked: dict[str, list[list[str]]]
    said: dict[str, str]
    machines: dict[str, dict[str, dict[str, Any]]]

    def commands(self, step: str) -> list[str]:
        """Of ssh, as the shell there gets them."""
        return [what for program, _, what in self.asked[step] if program == "ssh"]

    def received(self, step: str, kind: str) -> Path:
        """What a machine has been sent."""
        machine = self.machines[step][kind]
        return self.person.base / machine["PublicIpAddress" if kind == "head" else "PrivateIpAddress"]


@pytest.fixture(scope="module")
def person(furnish, tmp_path_factory) -> Iterator[Person]:
    base = tmp_path_factory.mktemp("aws")
    for name in ("bin", "tmp"):
        (base / name).mkdir()
    for name in ("ssh", "rsync"):
        (base / "bin" / name).write_text(REACH_NOBODY, encoding="utf-8")
        (base / "bin" / name).chmod(0o755)
    desk = furnish(base / "desk")
    (desk.home / ".gaelp.env").write_text(f"WANDB_API_KEY={KEY}\n", encoding="utf-8")
    (desk.home / ".ray/auth_token").write_text(TOKEN, encoding="utf-8")
    desk.write(FILE)
    with Amazon() as cloud:
        cloud.client("iam").create_instance_profile(InstanceProfileName="gaelp")
        yield Person(base, desk, cloud)


@pytest.fixture(scope="module")
def story(person) -> Story:
    """Up, a command, a worker, down."""
    asked, said, machines, before = {}, {}, {}, 0
    for step in ("up", "exec", "larger", "down"):
        if step == "larger":
            head = machines["exec"]["head"]
            home = person.base / head["PublicIpAddress"]
            done = person.run("-c", AUTOSCALER, head["PrivateIpAddress"], home=home)
        else:
            done = person.ray(step, FILE, LOOK if step == "exec" else "-y")
        assert done.returncode == 0, done.stdout + done.stderr
        calls = person.asked()
        asked[step], before = calls[before:], len(calls)
        said[step], machines[step] = done.stdout + done.stderr, person.machines()
    return Story(person, asked, said, machines)


def check_machine(machine: dict[str, Any], kind: str) -> None:
    """What is the same for a head and a worker."""
    assert (machine["ImageId"], machine["State"]["Name"]) == ("ami-0123456789abcdef0", "running")
    assert machine["IamInstanceProfile"]["Arn"].endswith(":instance-profile/gaelp")
    assert [disk["DeviceName"] for disk in machine["BlockDeviceMappings"]] == ["/dev/sda1"]
    tags = {tag["Key"]: tag["Value"] for tag in machine["Tags"]}
    about = {"ray-cluster-name": "gaelp", "ray-node-type": kind, "Name": f"ray-gaelp-{kind}"}
    assert tags | about | {"ray-node-status": "up-to-date"} == tags


def test_the_head_is_an_on_demand_machine_as_in_the_file(story):
    assert list(story.machines["up"]) == ["head"]
    head = story.machines["up"]["head"]
    check_machine(head, "head")
    assert (head["InstanceType"], head.get("InstanceLifecycle")) == ("m7i.large", None)


def test_only_its_owner_reads_the_key_that_ray_makes_and_the_head_gets_it_for_the_workers(story):
    key = story.machines["up"]["head"]["KeyName"]
    file = story.person.desk.home / ".ssh" / f"{key}.pem"
    assert [pair["KeyName"] for pair in story.person.ec2.describe_key_pairs()["KeyPairs"]] == [key]
    sent = story.received("up", "head") / "ray_bootstrap_key.pem"
    assert sent.read_bytes() == file.read_bytes()
    assert {path.stat().st_mode & 0o777 for path in (file, sent)} == {0o600}


def test_ssh_is_open_to_the_world_and_all_else_to_the_cluster_only(story):
    (group,) = story.machines["up"]["head"]["SecurityGroups"]
    (found,) = story.person.ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    open_to = {
        (rule["IpProtocol"], rule.get("FromPort")): (
            [found["CidrIp"] for found in rule["IpRanges"]],
            [found["GroupId"] for found in rule["UserIdGroupPairs"]],
        )
        for rule in found["IpPermissions"]
    }
    assert open_to == {("tcp", 22): (["0.0.0.0/0"], []), ("-1", None): ([], [group["GroupId"]])}


@pytest.mark.parametrize(("step", "kind"), [("up", "head"), ("larger", "worker")])
def test_all_is_sent_before_it_is_used_and_secrets_stay_their_owners(story, step, kind):
    received, home, work = story.received(step, kind), story.person.desk.home, story.person.desk.work
    for name, source in {
        ".gaelp/wheels/requirements.txt": work / "dist/cluster/requirements.txt",
        ".gaelp/constraints.txt": work / "constraints.txt",
        ".gaelp/install.sh": work / "deploy/install.sh",
        ".gaelp.env": home / ".gaelp.env",
        ".ray/auth_token": home / ".ray/auth_token",
    }.items():
        assert (received / name).read_bytes() == source.read_bytes()
    assert {(received / name).stat().st_mode & 0o777 for name in (".gaelp.env", ".ray/auth_token")} == {0o600}
    asked = story.asked[step]
    last = max(number for number, (program, _, _) in enumerate(asked) if program == "rsync")
    after = list(dict.fromkeys(what for _, _, what in asked[last + 1 :]))  # workers are set up twice (Ray 2.60)
    order = ["cloud-init", "python3-venv", "install.sh python3 boto3", "bin/ray stop", "bin/ray start"]
    assert len(after) == len(order) and all(part in what for part, what in zip(order, after, strict=True))


@pytest.mark.parametrize(
    ("step", "start"),
    [
        ("up", "--head --port=6379 --autoscaling-config=~/ray_bootstrap_config.yaml"),
        ("larger", "--address=$RAY_HEAD_IP:6379"),
    ],
)
def test_every_node_wants_the_token_and_knows_the_keys(story, step, start):
    command = story.commands(step)[-1]
    parts = ["export RAY_AUTH_MODE=token ", "set -a; . ~/.gaelp.env; set +a;", f"~/.gaelp/venv/bin/ray start {start}"]
    places = [command.find(part) for part in parts]
    assert -1 not in places and places == sorted(places)


def test_a_command_runs_in_the_heads_shell(story):
    ((program, machine, command),) = story.asked["exec"]
    assert (program, machine) == ("ssh", f"ubuntu@{story.machines['up']['head']['PublicIpAddress']}")
    assert LOOK in command


def test_a_worker_is_a_spot_machine_that_the_head_starts_and_fills(story):
    head, worker = (story.machines["larger"][kind] for kind in ("head", "worker"))
    check_machine(worker, "worker")
    assert (worker["InstanceType"], worker["InstanceLifecycle"]) == ("c7i.2xlarge", "spot")
    assert worker["SecurityGroups"] == head["SecurityGroups"]
    assert worker["SubnetId"] == head["SubnetId"]
    assert {machine for _, machine, _ in story.asked["larger"]} == {f"ubuntu@{worker['PrivateIpAddress']}"}
    assert f"export RAY_HEAD_IP={head['PrivateIpAddress']};" in story.commands("larger")[-1]


def test_no_secret_is_in_a_command_a_log_or_a_file_of_rays(story):
    rays = [*(story.person.base / "tmp").rglob("*"), story.received("up", "head") / "ray_bootstrap_config.yaml"]
    files = [path.read_text(encoding="utf-8") for path in rays if path.is_file()]
    assert len(files) >= 2
    texts = [*files, *story.said.values(), json.dumps(story.asked)]
    assert not [text for text in texts for secret in SECRETS if secret in text]


def test_nothing_that_costs_runs_after_down(story):
    assert set(story.machines["larger"]) == {"head", "worker"}
    assert {kind: machine["State"]["Name"] for kind, machine in story.machines["down"].items()} == {
        "head": "terminated",
        "worker": "terminated",
    }
