"""Which Debian mirror this machine uses: images and tools are made from the same.

The addresses come from apt's own sources (`apt-get indextargets`), so none is written here.
"""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.programs import need, run

_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_FORMAT = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where Debian's packages come from.

    Args:
        packages: the address of the archive.
        security: that of its security updates, or "".
        keyring: the keys that sign both.
    """

    packages: str
    security: str
    keyring: Path

    def sources(self, suite: str, components: Iterable[str], *, keyring: bool = True) -> str:
        """Lines for sources.list: the suite, its updates and its security updates."""
        trust = f" [signed-by={self.keyring}]" if keyring else ""
        parts = " ".join(components)
        lines = [f"deb{trust} {self.packages} {suite} {parts}"]
        if not suite.endswith("-backports"):
            lines.append(f"deb{trust} {self.packages} {suite}-updates {parts}")
            if self.security:
                lines.append(f"deb{trust} {self.security} {suite}-security {parts}")
        return "\n".join(lines) + "\n"


def find_mirror() -> Mirror:
    """The mirror of this machine's own apt.

    Raises:
        Fault: MISSING if apt is not here, knows no Debian mirror, or Debian's keys are not here.
    """
    need("apt-get")
    found: dict[str, str] = {}
    for line in run(["apt-get", "indextargets", "--format", _FORMAT]).splitlines():
        origin, label, address = line.split("|")
        if origin == "Debian" and label in {"Debian", "Debian-Security"}:
            found.setdefault(label, address.rstrip("/"))
    if "Debian" not in found:
        raise Fault(
            Kind.MISSING,
            "apt on this machine knows no Debian mirror",
            next_step="add one to /etc/apt/sources.list.d, then: apt-get update",
        )
    keyring = next((path for path in _KEYRINGS if path.exists()), None)
    if keyring is None:
        raise Fault(
            Kind.MISSING,
            "the keys that sign Debian's archive are not on this machine",
            next_step="sudo apt-get install debian-archive-keyring",
        )
    return Mirror(found["Debian"], found.get("Debian-Security", ""), keyring)


def own_architecture() -> str:
    """Debian's name for what this machine's programs are made for.

    Raises:
        Fault: UNSUPPORTED.
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        raise Fault(
            Kind.UNSUPPORTED,
            f"images are built on x86-64 and 64-bit ARM machines, not on {machine}",
        )
    return _MACHINES[machine]
