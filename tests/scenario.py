"""Golden scenarios: a text file of commands and the output each one must give.

A scenario reads as a transcript::

    # Why this case matters.
    campaign 1
    ----
    1 became candidate at term 1

Run `pytest --rewrite` to accept new output, then read the diff before committing it.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

Play = Callable[[str], str]


def replay(path: Path, play: Play, *, rewrite: bool) -> None:
    """Feed every command of the file at `path` to `play` and compare what it answers."""
    source = path.read_text()
    actual = "\n\n".join(_answer(block, play) for block in source.strip().split("\n\n")) + "\n"
    if rewrite:
        path.write_text(actual)
    if actual != source:
        told = difflib.unified_diff(source.splitlines(), actual.splitlines(), "written", "now")
        raise AssertionError(f"{path} differs (pytest --rewrite accepts it):\n" + "\n".join(told))


def _answer(block: str, play: Play) -> str:
    command, divider, _expected = block.partition("\n----")
    spoken = [line for line in command.splitlines() if not line.startswith("#")]
    if not spoken:
        return block
    assert divider, f"no ---- after {spoken}"
    return f"{command}\n----\n{play(chr(10).join(spoken)).rstrip()}".rstrip()
