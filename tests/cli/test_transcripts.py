"""What a person types and reads: `*.txt` beside this file, on a real tree of three nodes."""

import getpass
import grp
import os
import re
import shlex
from pathlib import Path

import pytest

from blocktree import examples
from cli.conftest import Shell, masked
from scenario import replay

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, home: Shell, rewrite: bool) -> None:
    replay(path, lambda lines: play(home, lines), rewrite=rewrite)


def play(home: Shell, lines: str) -> str:
    """Run the lines of one block: `bt …` with `<<< TEXT`, or `write FILE TEXT` and `read FILE`."""
    said = []
    for line in lines.splitlines():
        command, _, given = line.partition(" <<< ")
        match shlex.split(command):
            case ["bt", *arguments]:
                code, output = home.bt(*arguments, given=given.encode())
                said.append(output.rstrip("\n") + (f"\n[exit {code}]" if code else ""))
            case ["write", name, text]:
                (home.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (home.folder / name).write_text(text)
            case ["example", name]:
                source = Path(examples.__path__[0]) / name
                (home.folder / name).write_text(source.read_text())
            case ["link", name, target]:
                (home.folder / name).symlink_to(target)
            case ["read", name]:
                said.append((home.folder / name).read_text())
            case _:
                raise AssertionError(f"not understood: {line}")
    shown = "\n".join(text.strip("\n") for text in said if text.strip())
    return anybody(shown.replace("\n\n", "\n"), home)  # an empty line ends a block


def anybody(text: str, home: Shell) -> str:
    """The same for whoever runs the tests."""
    me, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
    text = masked(text, home.folder)
    text = text.replace(f"{me}:{group} ({os.getuid()}:{os.getgid()})", "ME:GROUP (UID:GID)")
    text = re.sub(rf"(?<=\d ){me} {group}(?= )", "ME GROUP", text)
    text = re.sub(r"(?<=running  0        )\d+", "N", text)  # an epoch is where the log was
    return text.replace(f"/users/{me}", "/users/ME")
