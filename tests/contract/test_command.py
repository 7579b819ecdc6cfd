"""`bt contract` where no tree is needed: what it prints, writes, and leaves with."""

import json
import shutil
import stat
from pathlib import Path

import pytest

from blocktree.contract.compact import read_table
from cli.conftest import Shell

RIGHT = """
from dataclasses import dataclass
from blocktree.contract import Contract, Role, State, answers, hears, mirror
from blocktree.wire import Record, record

@record(0x7D31)
@dataclass(frozen=True, slots=True)
class Ask(Record):
    number: int = 0

@record(0x7D32)
@dataclass(frozen=True, slots=True)
class Say(Record):
    number: int

@record(0x7D33)
@dataclass(frozen=True, slots=True)
class Bye(Record):
    pass

PARROT = Contract(
    "parrot", 1,
    Role("bird", State("awake", answers(Ask, Say), hears(Bye, then="asleep")), State("asleep")),
    mirror("owner"),
)
"""
WRONG = RIGHT.replace('then="asleep"', 'then="aslep"')
NEWER = RIGHT.replace('"parrot", 1', '"parrot", 2').replace("answers(Ask, Say), ", "")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("BLOCKTREE_STATE", str(tmp_path / "state"))
    for name, text in (("right.py", RIGHT), ("wrong.py", WRONG), ("newer.py", NEWER)):
        (tmp_path / name).write_text(text)
    return Shell(tmp_path)


def test_check_says_that_nothing_is_wrong(shell: Shell) -> None:
    said = shell.ok("contract", "check", "right.py")
    assert said == "parrot 1: bird and owner, 4 states. Nothing is wrong with it.\n"


def test_check_names_the_line_and_leaves_with_3(shell: Shell) -> None:
    code, said = shell.bt("contract", "check", "wrong.py")
    assert code == 3
    lines = WRONG.splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "aslep" in text)
    assert f"wrong.py:{line}: names: parrot.bird has no state 'aslep' (is it 'asleep'?)" in said
    code, said = shell.bt("contract", "check", "wrong.py", "--json")
    found = json.loads(said)
    assert code == 3
    assert found["schema"] == "bt.contract.check/1"
    assert {each["line"] for each in found["findings"]} == {line}


def test_check_says_what_cannot_be_checked(shell: Shell) -> None:
    (shell.folder / "broken.py").write_text("x = 1\nimport nowhere_at_all\n")
    (shell.folder / "empty.py").write_text("")
    for source, code, words in (
        ("missing.py", 9, "missing.py: there is no such file"),
        ("no.such.module", 9, "there is no such file, and no such module"),
        ("broken.py", 2, "broken.py:2: cannot be run: ModuleNotFoundError"),
        ("empty.py", 9, "names no contract"),
    ):
        left, said = shell.bt("contract", "check", source)
        assert (left, words in said) == (code, True), said


def test_stub_table_and_text_of_a_diagram_are_written(shell: Shell) -> None:
    shell.ok("contract", "stub", "right.py", "--role", "owner", "-o", "owner.py")
    assert "class OwnerAwake(State):" in (shell.folder / "owner.py").read_text()
    shell.ok("contract", "table", "right.py", "--role", "bird", "-o", "bird.tbl")
    table = read_table((shell.folder / "bird.tbl").read_bytes())
    assert table.role == "parrot.bird"
    assert "? Ask → Say" in shell.ok("contract", "draw", "right.py", "--mermaid")
    code, said = shell.bt("contract", "stub", "right.py", "--role", "cat")
    assert code == 9
    assert "there is: bird, owner" in said
    for verb in ("stub", "table"):
        code, said = shell.bt("contract", verb, "right.py")
        assert code == 2
        assert "for which role?" in said
        assert "--role bird or owner" in said


def test_draw_uses_graphviz_where_it_is(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("dot"):  # a stand-in that shows what it is given
        fake = shell.folder / "bin" / "dot"
        fake.parent.mkdir()
        fake.write_text('#!/bin/sh\ntest "$1" = -Tsvg && echo "<svg>" && cat\n')
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    shell.ok("contract", "draw", "right.py", "-o", "parrot.svg")
    drawn = (shell.folder / "parrot.svg").read_text()
    assert "<svg" in drawn
    assert "awake" in drawn


def test_draw_without_graphviz_gives_text(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(shell.folder))
    said = shell.ok("contract", "draw", "right.py")
    assert "Graphviz is not installed" in said
    assert "stateDiagram-v2" in said
    code, said = shell.bt("contract", "draw", "right.py", "-o", "parrot.svg")
    assert code == 1
    assert "sudo apt install graphviz, or -o FILE.mmd" in said
    assert not (shell.folder / "parrot.svg").exists()


def test_diff_shows_what_breaks_and_whom(shell: Shell) -> None:
    code, said = shell.bt("contract", "diff", "right.py", "newer.py")
    assert code == 3
    assert "- bird in awake: answers Ask with Say, then awake" in said
    assert "bird: cannot be upgraded before its partners:" in said
    assert "Ask from owner can arrive in state awake, which does not take it" in said
    assert "owner: can be upgraded first" in said
    shell.ok("contract", "diff", "right.py", "newer.py", "--role", "owner")
    shell.ok("contract", "diff", "right.py", "right.py")


def test_what_is_no_record_of_blame_is_refused(shell: Shell) -> None:
    (shell.folder / "x.blame").write_bytes(b"\x81\x00")
    code, said = shell.bt("contract", "verify", "x.blame")
    assert code == 2
    assert "x.blame: " in said


def test_help_has_examples(shell: Shell) -> None:
    for verb in ("check", "stub", "table", "draw", "diff", "blame", "verify"):
        assert f"bt contract {verb}" in shell.ok("contract", verb, "--help")


def test_two_files_of_one_name_are_two_versions(shell: Shell) -> None:
    for folder, text in (("old", RIGHT), ("new", NEWER)):
        (shell.folder / folder).mkdir()
        (shell.folder / folder / "parrot.py").write_text(text)
    code, said = shell.bt("contract", "diff", "old/parrot.py", "new/parrot.py", "--role", "bird")
    assert code == 3
    assert "- bird in awake: answers Ask with Say" in said


def test_run_refuses_a_wrong_contract_before_it_touches_a_tree(shell: Shell) -> None:
    actor = """
from blocktree.actors import Actor, Call, plays, receives

@plays(PARROT.role("bird"))
class Bird(Actor):
    @receives
    def ask(self, message: Ask, call: Call) -> Bye:
        return Bye()
"""
    (shell.folder / "bird.py").write_text(RIGHT + actor)
    code, said = shell.bt("run", "bird.py:Bird", "--at", "/home/bird")
    assert code == 3
    assert "bird.py:" in said
    assert "Bird.ask answers with Bye; parrot.bird answers Say (and 1 more)" in said
