"""Verbs that packages above the node bring along."""

import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

from blocktree.cli import ps
from blocktree.cli.main import bt, main

MODULE = '''
import click

@click.command()
def wave() -> None:
    """Wave at people."""
    click.echo("hello from above")
'''


@pytest.fixture
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waving.py").write_text(MODULE)
    described = tmp_path / "waving-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: waving\nVersion: 1\n")
    (described / "entry_points.txt").write_text("[blocktree.verbs]\nwave = waving:wave\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("_package")
def test_a_verb_that_another_package_registers_is_listed_and_runs() -> None:
    shell = CliRunner()
    assert "Wave at people." in shell.invoke(bt, ["--help"]).output
    assert shell.invoke(bt, ["wave"]).output == "hello from above\n"


def test_an_unknown_verb_is_refused() -> None:
    done = CliRunner().invoke(bt, ["wave"])
    assert done.exit_code == 2
    assert "No such command 'wave'" in done.output


def test_a_fault_of_the_program_is_a_sentence_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        logging.getLogger("zeroconf").error("what a part has to say", exc_info=KeyError("part"))
        raise KeyError("whole")

    monkeypatch.setattr(ps.command, "callback", broken)
    with pytest.raises(SystemExit) as left:
        main(["ps"])
    said = capfd.readouterr().err
    assert left.value.code == 1
    assert said.startswith(
        "bt: a fault of this program: KeyError: 'whole'\n    next: please report"
    )
    assert "Traceback" not in said
    assert "a part" not in said
