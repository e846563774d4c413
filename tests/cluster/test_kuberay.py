"""deploy/kuberay-rayjob.yaml uses fields of KubeRay's and Kubernetes' as they are documented; it has not been run.

KubeRay 1.6, https://docs.ray.io/en/latest/cluster/kubernetes/references/api.html (RayJobSpec, RayClusterSpec,
AuthOptions, AutoscalerOptions, HeadGroupSpec, WorkerGroupSpec); PodSpec, Container, EnvVar, ResourceRequirements as in
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
import yaml

PATH = Path(__file__).parents[2] / "deploy/kuberay-rayjob.yaml"
MANIFEST = yaml.safe_load(PATH.read_text(encoding="utf-8"))
SPEC = MANIFEST["spec"]

QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?")
POD = {"spec": {"containers": [{
    "name": str,
    "image": str,
    "env": [{"name": str, "valueFrom": {"secretKeyRef": {"name": str, "key": str, "optional": bool}}}],
    "resources": {"requests": {"cpu": QUANTITY, "memory": QUANTITY}, "limits": {"cpu": QUANTITY, "memory": QUANTITY}},
}]}}  # fmt: skip
DOCUMENTED = {
    "apiVersion": {"ray.io/v1"},
    "kind": {"RayJob"},
    "metadata": {"name": re.compile(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?")},
    "spec": {
        "entrypoint": str,
        "submissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
        "backoffLimit": int,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "activeDeadlineSeconds": int,
        "rayClusterSpec": {
            "rayVersion": str,
            "enableInTreeAutoscaling": bool,
            "authOptions": {"mode": {"disabled", "token"}},
            "autoscalerOptions": {
                "version": {"v1", "v2"},
                "idleTimeoutSeconds": int,
                "upscalingMode": {"Default", "Aggressive", "Conservative"},
            },
            "headGroupSpec": {"rayStartParams": {"num-cpus": str}, "template": POD},
            "workerGroupSpecs": [{
                "groupName": str,
                "replicas": int,
                "minReplicas": int,
                "maxReplicas": int,
                "rayStartParams": {},
                "template": POD,
            }],
        },
    },
}  # fmt: skip


def departures(value, documented, where=""):
    """Paths of what is not as documented."""
    if isinstance(documented, dict):
        unknown = [f"{where}.{key}: unknown" for key in value if key not in documented]
        known = [
            found
            for key in value
            if key in documented
            for found in departures(value[key], documented[key], f"{where}.{key}")
        ]
        return unknown + known
    if isinstance(documented, list):
        return [found for n, each in enumerate(value) for found in departures(each, documented[0], f"{where}.{n}")]
    if isinstance(documented, set):
        return [] if value in documented else [f"{where}: {value!r}"]
    if isinstance(documented, re.Pattern):
        return [] if isinstance(value, str) and documented.fullmatch(value) else [f"{where}: {value!r}"]
    return [] if type(value) is documented else [f"{where}: {value!r}"]


def test_every_field_is_one_that_is_documented_with_its_type():
    assert departures(MANIFEST, DOCUMENTED) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [(["ttlSecondsAfterFinished"], "300"), (["shutDown"], True), (["rayClusterSpec", "authOptions", "mode"], "on")],
)
def test_a_field_that_is_not_documented_would_be_noticed(path, value):
    wrong = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    holder = wrong["spec"]
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    assert len(departures(wrong, DOCUMENTED)) == 1


def test_ray_is_the_one_that_is_tested():
    assert SPEC["rayClusterSpec"]["rayVersion"] == metadata.version("ray")


def test_nothing_goes_on_costing_after_the_sweep():
    assert SPEC["shutdownAfterJobFinishes"] is True
    assert SPEC["activeDeadlineSeconds"] > 0
    (workers,) = SPEC["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["minReplicas"] == 0 < workers["maxReplicas"]


def test_secrets_come_by_reference_and_one_image_is_for_all():
    cluster = SPEC["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [container for group in groups for container in group["template"]["spec"]["containers"]]
    assert {container["image"] for container in containers} == {"CHANGE-ME"}
    assert all("value" not in variable for container in containers for variable in container["env"])
