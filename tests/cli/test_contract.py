"""Contracts of a running tree: who broke one, signed, and who is in the way of a new version."""

import json
import re
import time

from cli.conftest import Shell

WORDS = '''
from dataclasses import dataclass
from blocktree.actors import Actor, Call, plays, receives
from blocktree.contract import Contract, Role, State, answers, mirror
from blocktree.wire import Record, record

@record(0x7D41)
@dataclass(frozen=True, slots=True)
class Open(Record):
    """Open it."""

@record(0x7D42)
@dataclass(frozen=True, slots=True)
class Take(Record):
    """Take something out."""

@record(0x7D43)
@dataclass(frozen=True, slots=True)
class Look(Record):
    """Look into it."""

@record(0x7D44)
@dataclass(frozen=True, slots=True)
class Content(Record):
    """What is in it."""
    count: int

CHEST = Contract(
    "chest", VERSION,
    Role("chest", State("shut", answers(Open, then="open")),
         State("open", answers(Take, Content)LINES)),
    mirror("owner"),
)
'''
CHEST = '''
@plays(CHEST.role("chest"))
class Chest(Actor):
    @receives
    def open(self, message: Open, call: Call) -> None:
        """Open it."""

    @receives
    def take(self, message: Take, call: Call) -> Content:
        return Content(0)
'''
LOOK = """
    @receives
    def look(self, message: Look, call: Call) -> Content:
        return Content(0)
"""
OWNER = '''
@plays(CHEST.role("owner"))
class Owner(Actor):
    """Owns it."""
'''


def words(version: int, lines: str) -> str:
    return WORDS.replace("VERSION", str(version)).replace("LINES", lines)


def write(home: Shell) -> None:
    look = ", answers(Look, Content)"
    for name, text in (
        ("one.py", words(1, look) + CHEST + LOOK),
        ("owner.py", words(1, look) + OWNER),
        ("less.py", words(2, "") + CHEST),
        ("more.py", words(2, look + ", answers(Open)") + CHEST + LOOK),
    ):
        (home.folder / name).write_text(text)


def test_a_new_version_is_refused_with_the_name_of_who_lives_and_uses_the_old_one(
    home: Shell,
) -> None:
    write(home)
    home.ok("run", "one.py:Chest", "--at", "/home/box/chest")
    again = ("--at", "/home/box/chest", "--replace")
    home.ok("run", "one.py:Chest", *again)  # nobody else lives
    home.ok("run", "owner.py:Owner", "--at", "/home/box/owner")
    code, said = home.bt("run", "less.py:Chest", *again)
    assert code == 3
    assert "/home/box/owner runs version 1: Look from owner can arrive in state open" in said
    assert "upgrade it first, or keep the branch" in said
    code, said = home.bt("contract", "diff", "one.py", "less.py", "--live", "/home")
    assert code == 3
    assert "/home/box/owner runs version 1" in said
    home.ok("contract", "diff", "one.py", "less.py", "--live", "/home", "--role", "owner")
    home.ok("run", "more.py:Chest", *again)
    home.ok("stop", "/home/box/owner")
    home.ok("run", "less.py:Chest", *again)
    home.ok("stop", "/home/box/chest")


def test_who_breaks_a_contract_is_shown_saved_and_verified(home: Shell) -> None:
    write(home)
    assert "Nobody broke a contract." in home.ok("contract", "blame")
    home.ok("run", "one.py:Chest", "--at", "/home/box/blamed")
    code, said = 7, ""
    for _ in range(40):  # until its process has started
        code, said = home.bt("ask", "/home/box/blamed", "Take")
        if code != 7:
            break
        time.sleep(0.25)
    assert code == 3, said
    assert "Take may not come in state shut, which expects Open" in said
    home.ok("ask", "/home/box/blamed", "Open")  # another process: it begins anew
    shown = home.ok("contract", "blame", "--save", "evidence")
    assert re.search(r"/home/users/\S+ .*shut +Take +Open", shown)
    (record,) = (home.folder / "evidence").glob("*.blame")
    name = str(record.relative_to(home.folder))
    said = home.ok("contract", "verify", name, "--contract", "one.py")
    assert "in state shut of chest.chest, where Open may come" in said
    assert "The contract says so, too." in said
    code, said = home.bt("contract", "verify", name, "--contract", "less.py")
    assert code == 3
    assert "another contract, or another version" in said
    record.write_bytes(record.read_bytes()[:-1] + b"\0")
    code, said = home.bt("contract", "verify", name)
    assert code == 4
    assert json.loads(home.ok("contract", "blame", "--json"))["blames"][0]["message"] == "Take"
    home.ok("stop", "/home/box/blamed")
