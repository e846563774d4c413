"""Where the head is: of one's own machines the file says it, of others Ray is asked, in a process of its own."""

from __future__ import annotations

import pytest
from amazon import Amazon

from gaelp_ray.cluster.file import read_cluster_file
from gaelp_ray.cluster.jobs.head import find_head
from gaelp_ray.cluster.ssh import Login
from gaelp_ray.errors import InputError


def found(desk, **changes):
    return find_head(read_cluster_file(desk.write(changes=changes)))


def test_the_file_says_it(desk):
    head = found(desk)
    assert (head.file, head.address, head.port) == ("cluster.yaml", "10.1.0.1", 8265)
    assert head.login == Login("ada", "~/.ssh/id_ed25519")


def test_from_here_it_may_have_another_address_and_another_port(desk):
    port = {"--head --port=6379": "--head --port=6379 --dashboard-port 9265"}
    head = found(desk, **{"head_ip: 10.1.0.1": "head_ip: 10.1.0.1\n  external_head_ip: gate.example.org"}, **port)
    assert (head.address, head.port) == ("gate.example.org", 9265)


def test_a_file_that_was_never_filled_in_names_no_head(desk):
    with pytest.raises(InputError, match=r"provider\.head_ip is not filled in"):
        found(desk, **{"head_ip: 10.1.0.1": "head_ip: CHANGE-ME"})


@pytest.fixture
def aws(desk, monkeypatch, tmp_path):
    """An account at AWS, in which nothing is yet, and deploy/aws.yaml (played by moto: tests/amazon.py)."""
    desk.write("deploy/aws.yaml")
    with Amazon() as amazon:
        for name, value in {**amazon.env, "TMPDIR": str(tmp_path)}.items():  # where Ray keeps what it has found out
            monkeypatch.setenv(name, value)
        amazon.client("iam").create_instance_profile(InstanceProfileName="gaelp")
        yield amazon.client("ec2")


@pytest.mark.slow
def test_a_cloud_is_asked_where_its_head_is_and_with_what_key(desk, aws):
    """The head is a machine with the tags that Ray writes on it."""
    file = read_cluster_file(desk.work / "deploy/aws.yaml")
    with pytest.raises(
        InputError, match=r"no head of this cluster runs: start it with `ray up -y .*/aws.yaml` \(aws: "
    ):
        find_head(file)
    assert aws.describe_key_pairs()["KeyPairs"] == []  # nothing is made for a cluster that is not there
    about = {"ray-cluster-name": "gaelp", "ray-node-type": "head", "ray-node-status": "up-to-date"}
    tags = [{"Key": key, "Value": value} for key, value in about.items()]
    [machine] = aws.run_instances(
        ImageId="ami-0123456789abcdef0",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"]
    described = aws.describe_instances(InstanceIds=[machine["InstanceId"]])["Reservations"][0]["Instances"][0]
    head = find_head(file)
    assert head.address == described["PublicIpAddress"]
    [pair] = aws.describe_key_pairs()["KeyPairs"]
    assert head.login == Login("ubuntu", str(desk.home / f".ssh/{pair['KeyName']}.pem"))


@pytest.mark.slow
def test_ray_that_does_not_answer_is_not_waited_for(desk, aws, monkeypatch):
    monkeypatch.setattr("gaelp_ray.cluster.jobs.head.SECONDS", 0.1)
    with pytest.raises(InputError, match="aws did not say within 0 s where the head is"):
        find_head(read_cluster_file(desk.work / "deploy/aws.yaml"))
