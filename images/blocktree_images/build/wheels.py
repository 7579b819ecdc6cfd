"""The Python environment of the board: pinned wheels for its platform, and our own.

It is laid out here, without running anything of the board's: `pip install --target` for the other
platform, and bytecode by the toolbox's Python of the same version.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree_images.build.boards import Board
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.cache import source_digest
from blocktree_images.programs import Watch, run, silent

PYTHON = "3.13"  # of the suite
PINS = Path(__file__).with_name("wheels.txt")
PREFIX = "opt/blocktree"
_SOURCES = ("node", "gateway", "images")
_PAGES = ("pyproject.toml", "README.md", "LICENSE")
_PLATFORMS = {
    "arm64": ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64"),
    "amd64": ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64"),
}


def source_root() -> Path:
    """The checkout that our own wheel is built from.

    Raises:
        Fault: MISSING if this is an installed package.
    """
    root = Path(__file__).parents[3]
    if not (root / "pyproject.toml").exists():
        raise Fault(
            Kind.MISSING,
            "an image holds a wheel built from source, and the source is not here",
            next_step="run bt from a checkout: tools/bt image build",
        )
    return root


def wheel_inputs(board: Board) -> dict[str, Any]:
    """What decides which wheels are downloaded."""
    return {
        "pins": source_digest(PINS),
        "python": PYTHON,
        "platforms": _PLATFORMS[board.architecture],
        "code": source_digest(__file__),
    }


def download_wheels(board: Board, into: Path, watch: Watch = silent) -> None:
    """Download the pinned wheels for the board; pip checks each hash.

    Raises:
        Fault: FAILED with pip's words.
    """
    words = [*_pip("download"), "--require-hashes", "--requirement", PINS, "--dest", into]
    run(
        [*words, *wheel_platforms(board.architecture), "--quiet"],
        watch=watch,
        env=_pip_env(),
        what="pip",
    )


def own_inputs(epoch: int) -> dict[str, Any]:
    """What decides our own wheel's bytes."""
    root = source_root()
    files = [
        path
        for folder in _SOURCES
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return {
        "names": [str(path.relative_to(root)) for path in files],
        "sources": source_digest(*(root / name for name in _PAGES), *files),
        "epoch": epoch,
    }


def build_own(epoch: int, into: Path, watch: Watch = silent) -> None:
    """Build our own wheel; the same source gives the same bytes.

    Raises:
        Fault: FAILED with pip's words.
    """
    words = [*_pip("wheel"), "--no-deps", "--no-build-isolation", "--quiet"]
    env = {**_pip_env(), "SOURCE_DATE_EPOCH": str(epoch)}
    run([*words, "--wheel-dir", into, source_root()], watch=watch, env=env, what="pip")


def lay_out(
    board: Board,
    wheels: list[Path],
    toolbox: Toolbox,
    *,
    epoch: int,
    into: Path,
    watch: Watch = silent,
) -> None:
    """Make the environment below `into`, as `opt/blocktree` of the board.

    Raises:
        Fault: FAILED with the words of pip or the compiler.
    """
    prefix = into / PREFIX
    packages = prefix / "lib" / f"python{PYTHON}" / "site-packages"
    (prefix / "bin").mkdir(parents=True)
    words = [*_pip("install"), "--no-deps", "--no-index", "--no-compile", "--quiet"]
    words += ["--target", packages, *wheel_platforms(board.architecture), *wheels]
    run(words, watch=watch, env=_pip_env(), what="pip")
    shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts that name this machine's Python
    for record in packages.glob("*.dist-info"):
        for name in ("direct_url.json", "RECORD", "REQUESTED", "INSTALLER"):
            (record / name).unlink(missing_ok=True)  # they tell where and how it was installed
    (prefix / "bin" / "python").symlink_to("/usr/bin/python3")
    (prefix / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    )
    _compile(packages, toolbox, epoch, watch)


def _compile(packages: Path, toolbox: Toolbox, epoch: int, watch: Watch) -> None:
    """Bytecode that is never checked against its source: the card is not edited by hand."""
    env = {
        "PYTHONHOME": str(toolbox.root / "usr"),
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": str(epoch),
    }
    target = f"/{PREFIX}/lib/python{PYTHON}/site-packages"
    words = ["-m", "compileall", "-q", "-j1", "--invalidation-mode", "unchecked-hash"]
    toolbox.run(
        f"python{PYTHON}", *words, "-s", str(packages), "-p", target, packages, watch=watch, env=env
    )


def _pip(verb: str) -> list[str | Path]:
    return [sys.executable, "-m", "pip", verb]


def _pip_env() -> dict[str, str]:
    return {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": os.environ.get("HOME", "/nonexistent")}


def wheel_platforms(architecture: str) -> list[str]:
    """What pip is told of the board it downloads for."""
    version = PYTHON.replace(".", "")
    words = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    for abi in (f"cp{version}", "abi3", "none"):
        words += ["--abi", abi]
    for platform in _PLATFORMS[architecture]:
        words += ["--platform", platform]
    return words
