"""What a check of this machine found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from blocktree.fault import Fault


class Level(IntEnum):
    """How bad it is."""

    OK = 0
    NOTE = 1  # works, but worth knowing
    PROBLEM = 2  # something does not work, or will not for long


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `bt doctor`."""

    level: Level
    subject: str
    what: str
    next_step: str = ""


Check = Callable[[], Iterable[Finding]]


def ok(subject: str, what: str) -> Finding:
    """Nothing is wrong."""
    return Finding(Level.OK, subject, what)


def note(subject: str, what: str, next_step: str = "") -> Finding:
    """Something is worth knowing."""
    return Finding(Level.NOTE, subject, what, next_step)


def problem(subject: str, what: str, next_step: str = "") -> Finding:
    """Something is wrong."""
    return Finding(Level.PROBLEM, subject, what, next_step)


def examine(checks: Iterable[tuple[str, Check]]) -> list[Finding]:
    """Run checks, the worst findings first; one that fails itself is a problem like any other."""
    findings: list[Finding] = []
    for subject, check in checks:
        try:
            findings.extend(check())
        except Fault as fault:
            what = f"{fault.path}: {fault.what}" if fault.path else fault.what
            findings.append(problem(subject, what, fault.next_step))
        except OSError as cause:
            findings.append(problem(subject, f"cannot be checked: {cause}"))
    return sorted(findings, key=lambda finding: -finding.level)
