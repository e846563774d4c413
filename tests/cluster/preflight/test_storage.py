"""Storage that not all nodes can see is refused before anything starts."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("storage", ["results", "./results", "~/results"])
def test_a_folder_that_is_another_one_on_every_node_is_refused(desk, storage):
    (found,) = desk.check(storage=storage).errors
    assert "every node would take it for a folder of its own" in found


def test_of_ones_own_machines_a_folder_may_be_shared(desk):
    report = desk.check(storage="/mnt/sweeps")
    assert report.errors == []
    assert "all nodes must see the same files there" in report.warnings[0]


@pytest.mark.parametrize("name", ["deploy/aws.yaml", "deploy/gcp.yaml"])
def test_a_clouds_machines_share_no_folder(desk, name):
    assert "no two machines of a cloud share a folder" in desk.check(name, storage="/mnt/sweeps").errors[0]
    mounted = {"  - cloud-init": "  - sudo mount -t nfs4 files:/ /mnt/sweeps\n  - cloud-init"}
    assert desk.check(name, mounted, "/mnt/sweeps").errors == []


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/aws.yaml", "deploy/gcp.yaml"])
def test_s3_is_for_all(desk, name):
    report = desk.check(name, storage="s3://my-bucket/gaelp")
    assert (report.errors, report.warnings) == ([], [])


def test_workers_without_a_profile_cannot_write_to_s3(desk):
    profile = "      IamInstanceProfile: {Name: gaelp}    # may write to the bucket, and start and end instances\n"
    (found,) = desk.check(
        "deploy/aws.yaml", {profile: "", "      <<: *node": "      ImageId: ami-1"}, "s3://b/x"
    ).errors
    assert "available_node_types.worker.node_config: these workers have no rights in S3" in found


def test_machines_without_credentials_for_s3_are_warned_of(desk):
    (desk.home / ".gaelp.env").write_text("", encoding="utf-8")
    assert "nothing that is sent to the nodes gives them rights in S3" in desk.check(storage="s3://b/x").warnings[0]


def test_one_machine_may_have_a_folder_of_its_own(desk):
    report = desk.check(changes={"[10.1.0.2, 10.1.0.3]": "[]"}, storage="results")
    assert (report.errors, report.warnings) == ([], [])
