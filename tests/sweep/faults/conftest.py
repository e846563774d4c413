"""The faults of benchmarks/reliability, each a test: a module here names the one WHERE its faults are."""

from __future__ import annotations

import os

import pytest
from reliability.faults import Fault, faults_of
from reliability.stage import END_SECONDS, Stage
from reliability.trials import MANY_SECONDS

LIMIT_SECONDS = 2 * MANY_SECONDS + END_SECONDS
"""Above all that any of them waits for where it goes well, however slow the machine is."""


def pytest_generate_tests(metafunc):
    if "fault" in metafunc.fixturenames:
        marks = [pytest.mark.slow, pytest.mark.timeout(LIMIT_SECONDS)]
        faults = [pytest.param(one, id=one.name, marks=marks) for one in faults_of(metafunc.module.WHERE)]
        metafunc.parametrize("fault", faults)


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    """Where the sweeps of all faults run; those that they are compared with run once for all processes of pytest."""
    own = tmp_path_factory.getbasetemp()
    with Stage(kept=(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "kept") as stage:
        yield stage


@pytest.fixture
def inflict(stage):
    """Injects a fault, after which nothing may be missing, untrue or left over."""

    def check(fault: Fault) -> None:
        found = fault.found(stage)
        if found.skipped:
            pytest.skip(found.skipped)
        assert found.problems == []

    return check
