"""Checks of the machine itself: Python and its packages, FUSE, the clock, memory."""

import importlib.metadata
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from blocktree.cli.finding import Finding, note, ok, problem
from blocktree.cli.output import size_text
from blocktree.cli.places import Places
from blocktree.keys import Credential, check_credential
from blocktree.keys.chain import SET_CLOCK

_PYTHON_MIN = (3, 11)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)>=([0-9.]+)")
_DAY = 86_400
_FAR = 4_102_444_800  # 2100-01-01
_MEMORY_LOW = 96 << 20  # bytes; a node takes about 60 MiB
_SECONDS = 5


def python() -> Iterator[Finding]:
    """The interpreter and its TLS."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON_MIN:
        yield problem("python", f"{version} is too old", "install Python 3.11 or newer")
    elif not ssl.HAS_TLSv1_3:
        yield problem("python", f"{version} was built without TLS 1.3", "use Debian's python3")
    else:
        yield ok("python", f"{version}, {ssl.OPENSSL_VERSION}")


def packages() -> Iterator[Finding]:
    """The Python packages that the project names, in the versions it needs."""
    try:
        wanted = importlib.metadata.requires("blocktree") or []
    except importlib.metadata.PackageNotFoundError:
        yield note("packages", "blocktree runs from its sources and is not installed")
        return
    good = []
    for line in wanted:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, least = match.groups()
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield problem("packages", f"{name} is missing", f"pip install '{name}>={least}'")
            continue
        if _numbers(version) < _numbers(least):
            yield problem(
                "packages",
                f"{name} {version} is older than {least}",
                f"pip install --upgrade '{name}>={least}'",
            )
        else:
            good.append(f"{name} {version}")
    yield ok("packages", ", ".join(good))


def fuse() -> Iterator[Finding]:
    """What `bt mount` needs of the system."""
    device = Path("/dev/fuse")
    helper = shutil.which("fusermount3", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")
    root = os.geteuid() == 0
    if not device.exists():
        yield problem("fuse", "/dev/fuse is missing: nothing can be mounted", "sudo modprobe fuse")
    elif not root and helper is None:
        yield problem("fuse", "fusermount3 is missing", "sudo apt install fuse3")
    elif helper and not root and not Path(helper).stat().st_mode & stat.S_ISUID:
        yield problem("fuse", f"{helper} is not setuid root", "sudo apt install --reinstall fuse3")
    elif not root and not os.access(device, os.R_OK | os.W_OK):
        yield problem("fuse", "/dev/fuse may not be opened", "sudo chmod 666 /dev/fuse")
    else:
        yield ok("fuse", "/dev/fuse" + (f", {helper}" if helper else ", mounting as root"))


def clock(places: Places) -> Iterator[Finding]:
    """Whether the time can be right: certificates and history depend on it."""
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    if now < newest - _DAY:
        yield problem("clock", f"it says {shown}: before this program was installed", SET_CLOCK)
        return
    if now > _FAR:
        yield problem("clock", f"it says {shown}", SET_CLOCK)
        return
    for place in places.trees():
        if (place.folder / "user").exists():
            check_credential(place.user(), int(now))
    for node in places.nodes():
        kept = node.folder / "credential"
        if kept.exists():
            check_credential(Credential.load(kept.read_bytes()), int(now))
    if _synchronised() is False:
        yield note("clock", f"{shown}, but nothing keeps it right", SET_CLOCK)
    else:
        yield ok("clock", shown)


def memory() -> Iterator[Finding]:
    """Whether a node fits."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) << 10
            text = f"{size_text(free)} available"
            low = free < _MEMORY_LOW
            yield note("memory", f"only {text}; a node takes 60 MiB") if low else ok("memory", text)


def _synchronised() -> bool | None:
    """Whether the system keeps the time by the network; None if it cannot be asked."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system, found by name
            [program, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
