"""Pin the wheels that images hold: versions as the tests run with, hashes for every platform.

    .venv/bin/python tools/pin_wheels.py

Writes images/blocktree_images/build/wheels.txt: what the project needs at run time (as the
metadata of what is installed here says), in the versions of tools/requirements.txt, with each
wheel's hash for each architecture that images are made for.
"""

import re
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
ENVIRONMENT = {"python_version": PYTHON, "extra": "", "platform_python_implementation": "CPython"}


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
                told = subprocess.run(
                    [sys.executable, "-m", "pip", "hash", str(wheel)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                digest = re.search(r"--hash=(sha256:\w+)", told.stdout)
                assert digest is not None
                yield canonicalize_name(wheel.name.split("-")[0]), digest[1]


def main() -> None:
    versions = pinned()
    names = needed()
    by_name: dict[str, set[str]] = {name: set() for name in names}
    for name, digest in hashes([f"{name}=={versions[name]}" for name in names]):
        by_name[name].add(digest)
    lines = ["# The wheels that images hold. Made by: tools/pin_wheels.py"]
    for name in names:
        marks = "".join(f" \\\n  --hash={digest}" for digest in sorted(by_name[name]))
        lines.append(f"{name}=={versions[name]}{marks}")
    PINS.write_text("\n".join(lines) + "\n")
    print(f"{PINS.relative_to(ROOT)}: {len(names)} packages")


if __name__ == "__main__":
    main()
