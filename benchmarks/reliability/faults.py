"""What a fault is, and what is found out about one. The faults themselves: see the modules named in FAULTS."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

from reliability.stage import Driver, Missed, Room, Skipped, Stage


@dataclass
class Finding:
    """What one fault has come to. `told`: what happened, in a few words; `lost` and the others: what is wrong."""

    told: str = ""
    lost: list[str] = field(default_factory=list)
    wandb: str = "-"
    untrue: list[str] = field(default_factory=list)  # of W&B
    left_over: list[str] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str = ""

    @property
    def problems(self) -> list[str]:
        """All that is wrong."""
        return [*self.lost, *self.untrue, *(f"left over: {process}" for process in self.left_over)]

    def checked(self, whole: tuple[str, list[str]]) -> None:
        """Take over what losses.offline() or losses.online() has found."""
        self.wandb, problems = whole
        self.untrue += problems

    def require(self, holds: object, otherwise: str) -> None:
        """Something that must be so."""
        if not holds:
            self.lost.append(otherwise)

    def require_done(self, command: Driver, what: str) -> None:
        """A command that has ended must have ended well."""
        code = command.process.returncode
        self.require(code == 0, f"{what} ended with {code}: {command.err[-400:]}")


Inflict = Callable[[Stage, Finding], Room]
"""Injects the fault, writes what it finds into the Finding, and returns where it happened."""


@dataclass(frozen=True)
class Fault:
    """A fault by its name; `injected` says what is done."""

    name: str
    injected: str
    inflict: Inflict

    def found(self, stage: Stage) -> Finding:
        """Inject it, and look what it has done."""
        finding = Finding()
        stage.random.seed(self.name)  # the same again, whichever faults came before
        start = time.monotonic()
        try:
            room = self.inflict(stage, finding)
            finding.seconds = time.monotonic() - start
            finding.left_over += room.left_over()
        except Skipped as why:
            finding.skipped = str(why)
        except Missed as why:
            finding.seconds = time.monotonic() - start
            finding.lost.append(str(why))
            stage.clear()  # nobody waits any more for what may still run
        return finding


FAULTS: list[Fault] = []
"""In the order in which their modules were imported."""


def fault(name: str, injected: str) -> Callable[[Inflict], Inflict]:
    """Make a function a fault."""

    def register(inflict: Inflict) -> Inflict:
        FAULTS.append(Fault(name, injected, inflict))
        return inflict

    return register


def faults_of(module: ModuleType) -> list[Fault]:
    """Those that a module has made."""
    return [one for one in FAULTS if one.inflict.__module__ == module.__name__]
