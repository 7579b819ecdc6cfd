"""One set of vectors, made by an independent hand, held by CPython and by MicroPython."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from board.device_vectors import Case, cases
from vector import FOLDER, pin

HERE = Path(__file__).parent
COUNT = sum(1 for folder in ("device_*", "contract") for _ in FOLDER.glob(f"{folder}/*.txt"))
RUNTIME = HERE.parent.parent / "boards" / "runtime"


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case[0]}-{case[1]}")
def test_vectors_are_what_the_page_says(case: Case, rewrite: bool) -> None:
    folder, name, made = case
    pin(folder, name, made, rewrite=rewrite)


def test_no_vector_is_left_over() -> None:
    written = {str(path.relative_to(FOLDER)) for path in FOLDER.glob("device_*/*.txt")}
    assert written == {f"{folder}/{name}.txt" for folder, name, _ in cases()}


def held(program: str, variable: str) -> str:
    done = subprocess.run(
        [program, str(HERE / "device" / "vector_checks.py"), str(FOLDER)],
        env={**os.environ, variable: str(RUNTIME)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_every_vector_holds_on_cpython() -> None:
    assert held(sys.executable, "PYTHONPATH") == f"held {COUNT}\n"


def test_every_vector_holds_on_micropython(micropython: str) -> None:
    assert held(micropython, "MICROPYPATH") == f"held {COUNT}\n"
