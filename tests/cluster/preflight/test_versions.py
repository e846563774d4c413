"""One Ray, one Python and one gaelp_ray on all nodes."""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import gaelp_ray

PACKAGE = Path(gaelp_ray.__file__).parent


def wheel_of(folder: Path, changed: dict[str, str] | None = None) -> None:
    with zipfile.ZipFile(folder / "gaelp_ray-0.1.0-py3-none-any.whl", "w") as wheel:
        for source in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.[ch]")):
            name = source.relative_to(PACKAGE.parent).as_posix()
            wheel.writestr(name, (changed or {}).get(name, source.read_bytes()))


@pytest.mark.parametrize("version", ["2.9.0", "2.50.0"])
def test_constraints_for_another_ray_than_the_laptops_are_refused(desk, version):
    constraints = desk.work / "constraints.txt"
    constraints.write_text(constraints.read_text().replace(f"\nray=={metadata.version('ray')}", f"\nray=={version}"))
    (found,) = desk.check().errors
    assert f"the nodes get Ray {version}, and this machine has {metadata.version('ray')}" in found


def test_our_constraints_pin_the_ray_that_is_tested():
    text = (PACKAGE.parent / "constraints.txt").read_text(encoding="utf-8")
    assert f"\nray=={metadata.version('ray')}\n" in text


def test_the_wheel_of_this_package_is_current(desk):
    wheel_of(desk.work / "dist/cluster")
    assert desk.check().warnings == []


@pytest.mark.parametrize(
    "changed", ["gaelp_ray/config.py", "gaelp_ray/cluster/preflight/check.py", "gaelp_ray/core/c/hour.h"]
)
def test_a_wheel_of_other_sources_is_noticed(desk, changed):
    wheel_of(desk.work / "dist/cluster", {changed: "# other"})
    (found,) = desk.check().warnings
    assert "is not the gaelp_ray that runs here. Run `gaelp-ray cluster prepare`" in found


def test_a_wheel_with_a_module_that_is_gone_is_noticed(desk):
    wheel_of(desk.work / "dist/cluster")
    with zipfile.ZipFile(next((desk.work / "dist/cluster").glob("*.whl")), "a") as wheel:
        wheel.writestr("gaelp_ray/removed.py", "")
    assert len(desk.check().warnings) == 1


def test_a_broken_wheel_is_noticed(desk):
    (desk.work / "dist/cluster/gaelp_ray-0.1.0-py3-none-any.whl").write_bytes(b"no zip")
    assert len(desk.check().warnings) == 1


@pytest.mark.parametrize(
    ("command", "problems"),
    [
        ("pip install 'ray[default]=={ray}' gaelp-wheel", 0),
        ("pip install 'ray[default,tune]=={ray}' gaelp-wheel", 0),
        ("pip install -U ray gaelp-wheel", 2),
        ("pip install ray[tune]==1.0 gaelp-wheel", 2),
        ("ray stop; echo gaelp", 0),
        ("pip install xray gaelp-ray ./ray", 0),
        ("conda install python=3.9 gaelp", 1),
    ],
)
def test_commands_that_install_another_ray_or_python(desk, command, problems):
    line = command.format(ray=metadata.version("ray"))
    assert len(desk.check(changes={"bash ~/.gaelp/install.sh python3": line}).errors) == problems


@pytest.mark.parametrize(("images", "problems"), [(("311", "311"), 0), (("311", "312"), 1)])
def test_images_of_two_pythons_are_refused(desk, images, problems):
    tag = f"rayproject/ray:{metadata.version('ray')}-py"
    docker = f"{{container_name: r, head_image: '{tag}{images[0]}', worker_image: '{tag}{images[1]}'}}"
    changes = {"cluster_name: gaelp": f"cluster_name: gaelp\ndocker: {docker}"}
    assert len(desk.check(changes=changes).errors) == problems
