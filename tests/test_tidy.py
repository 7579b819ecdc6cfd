"""The rules of the house, checked like any other behaviour."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for folder in ("node", "gateway", "images", "boards", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
VAGUE_MODULES = {"base", "common", "core_utils", "helper", "helpers", "misc", "util", "utils"}
VAGUE_SUFFIXES = ("Base", "Data", "Handler", "Helper", "Impl", "Info", "Manager", "Util", "Utils")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
TOP_LEVEL = {
    *("node", "gateway", "images", "boards", "tests", "tools", ".ci"),
    *("pyproject.toml", "README.md", "ARCHITECTURE.md", "DECISIONS.md", "CHANGELOG.md", "LICENSE"),
    ".gitignore",
}
FORMATS = (
    "wire",
    "keys",
    "caps",
    "raft",
    "sectors",
    "contract",
    "disk",
    "link",
    "actors",
    "store",
    "mount",
    "sim",
)
LINTERS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "imports": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("command", LINTERS.values(), ids=list(LINTERS))
def test_linter(command: list[str]) -> None:
    program = Path(sys.executable).parent / command[0]
    assert program.exists(), f"{command[0]} is missing; tools/test installs it"
    done = subprocess.run(
        [str(program), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_is_tidy(path: Path) -> None:
    assert list(_faults(path)) == []


def test_the_top_level_holds_what_the_design_names_and_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.split("/")[0] for name in listed} <= TOP_LEVEL


@pytest.mark.parametrize("package", FORMATS)
def test_a_spec_lies_beside_each_format(package: str) -> None:
    assert (ROOT / "node" / "blocktree" / package / "SPEC.md").exists()


def test_a_spec_lies_beside_the_device_runtime() -> None:
    assert (ROOT / "boards" / "runtime" / "bt" / "SPEC.md").exists()


def _faults(path: Path) -> Iterator[str]:
    text = path.read_text()
    if len(text.splitlines()) > MODULE_LINES_MAX:
        yield f"more than {MODULE_LINES_MAX} lines: split by noun"
    if path.stem.strip("_") in VAGUE_MODULES:
        yield f"{path.stem} says nothing: name the module after what it holds"
    if found := UNFINISHED.search(text):
        yield f"{found[0]}: finish it"
    tree = ast.parse(text)
    if not ast.get_docstring(tree) and text.strip():
        yield "no docstring: say in one sentence what the module is for"
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield f"{node.name}: {lines} lines"
            case ast.ClassDef() if node.name.endswith(VAGUE_SUFFIXES):
                yield f"{node.name}: name what it is, not that it manages"
            case _:
                pass
