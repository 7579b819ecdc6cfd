"""Another person, on a machine of his own: asks to belong, is added, is given rights, leaves."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.conftest import Shell


@contextmanager
def elsewhere(folder: Path) -> Iterator[None]:
    """On a machine that knows nothing."""
    before = os.environ["BLOCKTREE_STATE"]
    os.environ["BLOCKTREE_STATE"] = str(folder / "state")
    try:
        yield
    finally:
        os.environ["BLOCKTREE_STATE"] = before


def word(said: str, mark: str) -> str:
    found = re.search(rf"^{mark}\S+$", said, re.MULTILINE)
    assert found is not None, said
    return found[0]


def test_another_person_belongs_may_read_may_write_and_leaves(home: Shell, tmp_path: Path) -> None:
    bob = "/home/users/bob"
    home.ok("mkdir", "/home/shared")
    with elsewhere(tmp_path):
        asked = word(home.ok("user", "request"), "btq1")
    code, said = home.bt("user", "add", "/home/bob", asked)
    assert (code, "a person's path lies in users" in said) == (2, True)
    welcome = word(home.ok("user", "add", bob, asked), "btw1")
    assert bob in home.ok("user", "ls")
    code, said = home.bt("user", "join", welcome, "--as", "other")
    assert (code, "was not made on this machine" in said) == (5, True)
    with elsewhere(tmp_path):
        assert f"You are {bob}" in home.ok("user", "join", "-", given=welcome.encode())
        code, said = home.bt("ls", "/home")
        assert (code, "no read cap" in said) == (5, True)
    home.ok("share", "/home", "--with", bob, "--may", "read")
    with elsewhere(tmp_path):
        assert "shared" in home.ok("ls", "/home")
        code, said = home.bt("mkdir", "/home/shared/his")
        assert (code, "lacks the right to write" in said) == (5, True)
    home.ok("share", "/home/shared", "--with", bob, "--may", "write")
    with elsewhere(tmp_path):
        home.ok("mkdir", "/home/shared/his")
    home.ok("share", "/home/shared", "--with", bob, "--stop")
    home.ok("share", "/home", "--with", bob, "--stop")
    assert "his" in home.ok("ls", "/home/shared")
    with elsewhere(tmp_path):
        assert home.bt("ls", "/home")[0] == 5
    assert home.bt("user", "remove", bob, "--no-input")[0] == 2
    home.ok("user", "remove", bob, "--yes", "bob")
    assert bob not in home.ok("user", "ls")
    with elsewhere(tmp_path):
        code, said = home.bt("ls", "/home")
        assert (code, "withdrawn" in said) == (5, True), said
    assert home.bt("user", "remove", bob, "--yes", "bob")[0] == 9
    home.ok("rm", "-r", "/home/shared", "--yes", "shared")


def test_what_is_no_request_is_refused(home: Shell) -> None:
    code, said = home.bt("user", "add", "/home/users/bob", "btq1abc")
    assert code != 0
    assert "mistyped or cut short" in said
