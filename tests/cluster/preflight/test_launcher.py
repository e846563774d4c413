"""Ray's private names are there, and say what we rely on: another Ray may have moved them."""

from __future__ import annotations

import inspect

import pytest
import yaml
from ray.autoscaler._private import util
from ray.autoscaler._private.local import config as local

from gaelp_ray.cluster.file import read_cluster_file
from gaelp_ray.cluster.preflight.launcher import provider_types, refusal, schema


def test_the_functions_are_there_with_one_argument_each():
    for function in (util.prepare_config, util.validate_config):
        assert list(inspect.signature(function).parameters) == ["config"]


def test_the_schema_lists_the_keys_that_our_files_use():
    top = schema()
    assert {"cluster_name", "provider", "auth", "file_mounts", "head_start_ray_commands"} <= top["properties"].keys()
    assert top["additionalProperties"] is False


def test_providers_are_known():
    assert {"local", "aws", "gcp"} <= set(provider_types())
    assert not [name for name in provider_types() if "fake" in name]


def test_head_and_workers_of_a_local_cluster_still_share_one_type():
    """What makes autoscaler v2 leave a worker unstarted: with two types, the mend in cluster.yaml may go."""
    prepared, _ = local.prepare_local({"provider": {"type": "local", "head_ip": "a", "worker_ips": ["b"]}})
    assert list(prepared["available_node_types"]) == [prepared["head_node_type"]]


@pytest.mark.parametrize("name", ["cluster.yaml", "deploy/aws.yaml", "deploy/gcp.yaml"])
def test_ray_takes_our_files_without_asking_a_cloud(desk, name, capsys):
    assert refusal(read_cluster_file(desk.write(name))) == ""
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cluster_name: gaelp": "max_workers: 1\ncluster_name: gaelp"}, "smaller than the sum of `min_workers`"),
        ({"setup_commands:": "setup_comands:"}, "'setup_comands' was unexpected"),
        ({"  head_ip: 10.1.0.1": "  region: a"}, "supply a `head_ip`"),
    ],
)
def test_what_ray_refuses_comes_as_one_line(desk, changes, said, capsys):
    reason = refusal(read_cluster_file(desk.write(changes=changes)))
    assert said in reason
    assert "\n" not in reason
    assert capsys.readouterr() == ("", "")


def test_what_is_asked_of_ray_leaves_the_file_as_it_was(desk):
    file = read_cluster_file(desk.write())
    before = yaml.safe_dump(file.document.data)
    refusal(file)
    assert yaml.safe_dump(file.document.data) == before


def test_ray_is_asked_only_where_nothing_else_is_wrong(desk):
    assert not [
        line for line in desk.check(changes={"setup_commands:": "setup_comands:"}).errors if "Ray refuses" in line
    ]


def test_a_file_that_only_ray_refuses_is_refused(desk, monkeypatch):
    monkeypatch.setattr("gaelp_ray.cluster.preflight.check.refusal", lambda file: "something new")
    assert desk.check().errors == ["cluster.yaml:1:1: Ray refuses the file: something new. Mend it"]
