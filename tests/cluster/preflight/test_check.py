"""A launcher file is checked as a whole: ours pass, and each fault that is planted is found, with its line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaelp_ray.cli.main import main
from gaelp_ray.cluster.preflight.check import check_cluster
from gaelp_ray.errors import ClusterFileError

ROOT = Path(__file__).parents[3]
FAULTS = yaml.safe_load((Path(__file__).parent / "faults.yaml").read_text(encoding="utf-8"))
FILES = ["cluster.yaml", "deploy/aws.yaml", "deploy/gcp.yaml"]


def typed(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["gaelp-ray", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def line_of(text, part):
    """Number of the only line that has `part`."""
    (number,) = [number for number, line in enumerate(text.splitlines(), 1) if part in line]
    return number


@pytest.mark.parametrize("name", FILES)
def test_our_own_files_pass_once_they_are_filled_in(desk, name):
    report = desk.check(name)
    assert (report.errors, report.warnings) == ([], [])


@pytest.mark.parametrize("name", FILES)
def test_our_own_files_say_what_is_to_be_filled_in(desk, name):
    original = (desk.work / "original.yaml").resolve()
    original.write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    found = [line for line in check_cluster(original).errors if "CHANGE-ME" in line]
    lines = [n for n, line in enumerate(original.read_text().splitlines(), 1) if re.match(r"[^#]*CHANGE-ME", line)]
    assert [int(line.split(":")[1]) for line in found] == lines
    assert len(lines) > 0


@pytest.mark.parametrize("fault", FAULTS["errors"])
def test_a_planted_fault_is_found_with_its_line(desk, fault):
    about = FAULTS["errors"][fault]
    path = desk.write(about["file"], about["change"])
    lines = path.read_text(encoding="utf-8").splitlines()
    found = next(line for line in check_cluster(path).errors if about["said"] in line)
    part, _, further = about["at"].partition("+")
    wanted = next(n for n, line in enumerate(lines, 1) if re.match(part, line) or part in line)
    assert int(found.split(":")[1]) == wanted + int(further or 0)
    assert re.match(rf"{path}:\d+:\d+: ", found)


@pytest.mark.parametrize("remark", FAULTS["warnings"])
def test_what_may_be_meant_so_is_a_warning(desk, remark):
    about = FAULTS["warnings"][remark]
    report = desk.check(about["file"], about["change"])
    assert [line for line in report.warnings if about["said"] in line]
    assert report.errors == []


def test_all_problems_come_at_once_in_the_order_of_the_file(desk):
    changes = {"head_ip:": "haed_ip:", "id_ed25519": "id_rsa", "v2=0 RAY_AUTH_MODE=token": "v2=1", " --head ": " "}
    lines = [int(line.split(":")[1]) for line in desk.check(changes=changes).errors]
    assert len(lines) >= 6
    assert lines == sorted(lines)


def test_secrets_are_never_repeated(desk):
    key = "0123456789" * 4
    errors = desk.check(changes={"cluster_name: gaelp": f"cluster_name: gaelp\nmetadata: {{key: {key}}}"}).errors
    assert len(errors) == 1
    assert key not in errors[0]


def test_a_commit_is_no_secret(desk):
    sha = "0123456789" * 4
    command = f"{{a: 'git+https://x.org/y@{sha}'}}"
    assert desk.check(changes={"cluster_name: gaelp": f"cluster_name: gaelp\nmetadata: {command}"}).errors == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("provider: {type: local\n", "not valid YAML"),
        ("- a\n", "a cluster file is a mapping of keys"),
        ("provider: {type: local}\nprovider: {}\n", "the key stands twice"),
        ("method: random\nparameters: {}\n", "no file of Ray's cluster launcher"),
        ("apiVersion: ray.io/v1\nkind: RayJob\n---\nkind: Secret\n", "a Kubernetes manifest (RayJob)"),
        ("\x00", "not valid YAML"),
    ],
)
def test_what_is_no_launcher_file_is_refused_in_one_line(desk, monkeypatch, capsys, text, said):
    (desk.work / "x.yaml").write_text(text, encoding="utf-8")
    assert typed(monkeypatch, "cluster", "check", "x.yaml") == 2
    said_to_person = capsys.readouterr().err.splitlines()
    assert len(said_to_person) == 1
    assert said in said_to_person[0]


def test_a_file_that_is_not_there_is_refused_in_one_line(desk, monkeypatch, capsys):
    assert typed(monkeypatch, "cluster", "check", "nowhere.yaml") == 2
    assert capsys.readouterr().err == "error: cannot read the cluster file nowhere.yaml: No such file or directory\n"


def test_command_ends_with_0_and_says_what_comes_next(desk, monkeypatch, capsys):
    desk.write(changes={"--head ": "--head --dashboard-host=0.0.0.0 "})
    assert typed(monkeypatch, "cluster", "check", "cluster.yaml") in (0, None)
    said = capsys.readouterr()
    assert said.out == "cluster.yaml: ready for `ray up -y cluster.yaml`\n"
    assert said.err.startswith("warning: cluster.yaml:")


def test_json_has_every_problem_with_its_line(desk, monkeypatch, capsys):
    path = desk.write(
        changes={"id_ed25519": "id_rsa", "cluster_name: gaelp": "cluster_name: g\nmin_workers: 0\nmax_workers: 1"}
    )
    assert typed(monkeypatch, "cluster", "check", "cluster.yaml", "--json") == 2
    facts = json.loads(capsys.readouterr().out)
    assert facts["ok"] is False
    found = {problem["key"]: problem for problem in facts["problems"]}
    assert found["auth.ssh_private_key"]["line"] == line_of(path.read_text(encoding="utf-8"), "id_rsa")
    assert found["auth.ssh_private_key"]["severity"] == "error"
    assert found["max_workers"]["severity"] == "warning"
    assert all(
        {"line", "column", "key", "what", "remedy", "severity"} == problem.keys() for problem in facts["problems"]
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.text("a~/-:=$ ", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "CPU", "ssh_user"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_anywhere_is_found_or_passes_and_never_a_traceback(desk, data):
    name = data.draw(st.sampled_from(FILES))
    content = yaml.safe_load(desk.write(name).read_text(encoding="utf-8"))
    for _ in range(data.draw(st.integers(1, 3))):
        holder = content
        while True:
            key = data.draw(st.sampled_from(sorted(holder)))
            if isinstance(holder[key], dict) and holder[key] and data.draw(st.booleans()):
                holder = holder[key]
            else:
                holder[key] = data.draw(VALUES)
                break
    path = desk.work / "any.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        assert isinstance(check_cluster(path).errors, list)
    except ClusterFileError:
        pass


def test_variables_of_the_shell_are_left_to_the_shell(desk):
    command = {"ulimit -n 65536;": "echo ${NO_SUCH_VARIABLE} $RAY_HEAD_IP; ulimit -n 65536;"}
    assert desk.check(changes=command).errors == []
