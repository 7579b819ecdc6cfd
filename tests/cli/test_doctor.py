"""What `bt doctor` finds on a machine with a tree, and on one where something is wrong."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from blocktree.cli import machinechecks, statechecks
from blocktree.cli.finding import Level, examine, ok
from blocktree.cli.places import Places, here
from blocktree.fault import Fault, Kind
from cli.conftest import Shell


def doctor(home: Shell) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    code, said = home.bt("doctor", "--json")
    report = json.loads(said)
    assert report["schema"] == "bt.doctor/1"
    checks: dict[str, list[dict[str, Any]]] = {}
    for check in report["checks"]:
        checks.setdefault(check["check"], []).append(check)
    return code, checks


def test_a_sound_tree_has_no_problem_of_its_own(home: Shell) -> None:
    _, checks = doctor(home)
    assert [check["level"] for check in checks["node"]] == ["ok"] * 3
    assert re.search("3 of 3 nodes answer", checks["tree"][0]["what"])
    for subject in ("python", "packages", "clock", "state", "keys", "tree"):
        assert {check["level"] for check in checks[subject]} <= {"ok", "note"}, subject


def test_a_key_that_others_can_read_is_a_problem_with_its_cure(home: Shell) -> None:
    key = here().tree_place("home").folder / "user"
    key.chmod(0o644)
    try:
        code, checks = doctor(home)
    finally:
        key.chmod(0o600)
    assert code == 1
    assert {"what": f"others can read {key}", "next": f"chmod 600 {key}"}.items() <= checks["keys"][
        0
    ].items()


def test_problems_come_first_and_a_check_that_fails_is_one() -> None:
    def broken() -> list[Any]:
        raise Fault(Kind.DAMAGED, "is torn", path="x", next_step="mend it")

    findings = examine([("fine", lambda: [ok("fine", "yes")]), ("bad", broken)])
    assert [(f.level, f.what, f.next_step) for f in findings] == [
        (Level.PROBLEM, "x: is torn", "mend it"),
        (Level.OK, "yes", ""),
    ]


@pytest.mark.parametrize("now", [0.0, 1_500_000_000.0, 5_000_000_000.0])
def test_a_clock_that_cannot_be_right_is_a_problem(
    now: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: now)
    findings = examine([("clock", lambda: machinechecks.clock(Places(tmp_path)))])
    assert [finding.level for finding in findings] == [Level.PROBLEM]
    assert "timedatectl" in findings[0].next_step


def test_a_state_directory_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    places = Places(Path("/proc/nothing") if os.geteuid() == 0 else tmp_path / "file")
    findings = examine([("state", lambda: statechecks.state(places))])
    assert [finding.level for finding in findings] == [Level.PROBLEM]


def test_a_machine_without_a_tree_is_told_how_to_begin(tmp_path: Path) -> None:
    findings = examine([("keys", lambda: statechecks.keys(Places(tmp_path)))])
    assert [finding.level for finding in findings] == [Level.NOTE]
    assert "bt up --sim 3" in findings[0].next_step
