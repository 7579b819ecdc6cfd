"""Pin the wheels that images hold: versions as the tests run with, hashes for every platform.

    .venv/bin/python tools/pin_wheels.py

Writes images/blocktree_images/build/wheels.txt: what the project needs at run time (as the
metadata of what is installed here says), in the versions of tools/requirements.txt, with each
wheel's hash for each architecture that images are made for.
"""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from blocktree_images.build.wheels import PINS, PYTHON, wheel_platforms

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "extra": "",
    "platform_python_implementation": "CPython",
}


def needed() -> list[str]:
    """The names of what the project needs, and what that needs."""
    found: set[str] = set()
    queue = ["blocktree"]
    while queue:
        for text in requires(queue.pop()) or []:
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            applies = requirement.marker is None or requirement.marker.evaluate(ENVIRONMENT)
            if applies and name not in found:
                found.add(name)
                queue.append(name)
    return sorted(found)


def pinned() -> dict[str, str]:
    """Every version of tools/requirements.txt."""
    lines = (ROOT / "tools" / "requirements.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version.strip() for name, version in pairs}


def hashes(pins: list[str]) -> Iterator[tuple[str, str]]:
    """Each wheel's package and hash, for every architecture."""
    for architecture in ("arm64", "amd64"):
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            words += ["--dest", folder, *wheel_platforms(architecture), *pins]
            subprocess.run(words, check=True)
            for wheel in sorted(Path(folder).glob("*.whl")):
                digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
                yield canonicalize_name(wheel.name.split("-")[0]), f"sha256:{digest}"


def known(pin: str) -> set[str]:
    """The hashes that are pinned for this version already: they never change."""
    lines = PINS.read_text().splitlines() if PINS.exists() else []
    found: set[str] = set()
    for number, line in enumerate(lines):
        if line.split(" ")[0] == pin:
            for mark in lines[number + 1 :]:
                if not mark.startswith("  --hash="):
                    break
                found.add(mark.strip(" \\").removeprefix("--hash="))
    return found


def main() -> None:
    versions = pinned()
    names = needed()
    by_name = {name: known(f"{name}=={versions[name]}") for name in names}
    if new := [name for name in names if not by_name[name]]:
        for name, digest in hashes([f"{name}=={versions[name]}" for name in new]):
            by_name[name].add(digest)
    lines = ["# The wheels that images hold. Made by: tools/pin_wheels.py"]
    for name in names:
        marks = "".join(f" \\\n  --hash={digest}" for digest in sorted(by_name[name]))
        lines.append(f"{name}=={versions[name]}{marks}")
    PINS.write_text("\n".join(lines) + "\n")
    print(f"{PINS.relative_to(ROOT)}: {len(names)} packages")


if __name__ == "__main__":
    main()
