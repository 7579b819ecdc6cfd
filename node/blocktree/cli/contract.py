"""`bt contract`: check protocols, and make from them what people and devices need."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from blocktree.actors.examine import contracts_in, examine
from blocktree.cli.asking import address_option, json_option
from blocktree.cli.contractfile import load, one_contract
from blocktree.cli.contractpeers import blames, live_peers, print_blames, verify_file
from blocktree.cli.exits import exit_code
from blocktree.cli.output import colour, print_json, say
from blocktree.contract import Contract, Finding, Role, check, lanes, raise_first
from blocktree.contract.compact import encode_table
from blocktree.contract.draw import dot, mermaid
from blocktree.contract.stub import stub
from blocktree.contract.versions import Comparison, compare, gate
from blocktree.contract.written import contract_hash
from blocktree.fault import Fault, Kind

_F = TypeVar("_F", bound=Callable[..., Any])
_DRAW_SECONDS = 60
_out_option = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."
)
_contract_option = click.option(
    "--contract", "name", default="", metavar="NAME", help="Which contract, if there are several."
)


@click.group("contract")
def command() -> None:
    """Check protocols between actors, and make stubs, device tables and diagrams of them.

    A contract says who may say what next. It is a few lines of Python, in a FILE.py or a module.
    """


@command.command("check")
@click.argument("source", metavar="MODULE|FILE")
@json_option
def check_verb(source: str, *, as_json: bool) -> None:
    """Find what is wrong with contracts, and with the actors that play their roles.

    Roles that do not fit together, messages nobody sends or takes, states nothing leads to, and
    every deadlock and endless loop that is possible: with the line, and the way to it.

    \b
    Examples:
      bt contract check thermostat.py
      bt contract check blocktree.store.contracts

    Exit code 0 if nothing is wrong, 3 if something is.
    """  # noqa: D301
    module = load(source)
    contracts, found = contracts_in(module), examine(module)
    if not contracts:
        raise Fault(Kind.NOT_FOUND, "names no contract", path=source)
    if as_json:
        names = [
            {"contract": c.name, "version": c.version, "hash": contract_hash(c).hex()}
            for c in contracts
            if not check(c)
        ]
        print_json("contract.check", {"right": names, "findings": [_finding(f) for f in found]})
    else:
        for finding in found:
            _show(finding)
        for contract in contracts:
            if not check(contract):
                name = f"{contract.name} {contract.version}"
                say(f"{name}: {_sizes(contract)}. Nothing is wrong with it.")
    if found:
        sys.exit(exit_code(Kind.CONTRACT))


@command.command("stub")
@click.argument("source", metavar="MODULE|FILE")
@click.option("--role", default="", metavar="ROLE", help="For who is to speak through it.")
@_contract_option
@_out_option
def stub_verb(source: str, role: str, name: str, output: Path | None) -> None:
    """Write Python classes with which a type checker knows what may be said next.

    \b
    Example:
      bt contract stub thermostat.py --role person -o person.py
    """  # noqa: D301
    _write(stub(_role(source, name, role)).encode(), output)


@command.command("table")
@click.argument("source", metavar="MODULE|FILE")
@click.option("--role", default="", metavar="ROLE", help="The role that the device plays.")
@_contract_option
@_out_option
def table_verb(source: str, role: str, name: str, output: Path | None) -> None:
    """Write the table, at most 2 KiB, with which a device holds itself to a role.

    \b
    Example:
      bt contract table sensor.py --role sensor -o app/contract.tbl
    """  # noqa: D301
    table = encode_table(_role(source, name, role))
    if output is None and sys.stdout.isatty():
        what = "a table is not for a terminal"
        raise Fault(Kind.USAGE, what, next_step="-o FILE, or into a pipe")
    _write(table, output)


@command.command("draw")
@click.argument("source", metavar="MODULE|FILE")
@_contract_option
@_out_option
@click.option("--mermaid", "as_text", is_flag=True, help="Mermaid text, also where Graphviz is.")
def draw_verb(source: str, name: str, output: Path | None, *, as_text: bool) -> None:
    """Draw a contract: SVG by Graphviz if that is installed, otherwise Mermaid text.

    \b
    Examples:
      bt contract draw thermostat.py -o thermostat.svg
      bt contract draw thermostat.py --mermaid
    """  # noqa: D301
    contract = _checked(source, name)
    program = None if as_text else shutil.which("dot")
    if program is None:
        if output is not None and output.suffix == ".svg":
            what, step = "Graphviz is not installed", "sudo apt install graphviz, or -o FILE.mmd"
            raise Fault(Kind.UNSUPPORTED, what, path=str(output), next_step=step)
        if not as_text:
            say("Graphviz is not installed (sudo apt install graphviz): this is Mermaid text.")
        _write(mermaid(contract).encode(), output)
        return
    drawn = subprocess.run(  # noqa: S603 - a program of the system, fed by a pipe
        [program, "-Tsvg"],
        input=dot(contract).encode(),
        capture_output=True,
        timeout=_DRAW_SECONDS,
        check=False,
    )
    if drawn.returncode:
        words = drawn.stderr.decode(errors="replace").strip()
        raise Fault(Kind.FAILED, f"Graphviz says: {words}", next_step="bt contract draw --mermaid")
    _write(drawn.stdout, output)


@command.command("diff")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@_contract_option
@click.option("--role", default="", metavar="ROLE", help="Judge only this role's upgrade.")
@click.option("--live", metavar="TREE", help="Refuse only for who runs the old version in TREE.")
@address_option
@json_option
def diff_verb(
    *,
    old: str,
    new: str,
    name: str,
    role: str,
    live: str | None,
    addresses: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say what a new version changes, and whom it would break.

    Each role is tried in its new version with partners of the old one, since a home is never
    upgraded all at once. With --live, what would break counts only if somebody runs it now.

    \b
    Examples:
      bt contract diff thermostat-1.py thermostat-2.py
      bt contract diff thermostat-1.py thermostat-2.py --role room --live /home

    Exit code 0 if the change is compatible, 3 if not.
    """  # noqa: D301
    result = compare(_checked(old, name), _checked(new, name))
    wanted = {r: found for r, found in result.breaks.items() if not role or r == role}
    if role and not wanted:
        result.new.role(role)
    if as_json:
        _print_diff_json(result, wanted)
    else:
        _print_diff(result, wanted)
    if live is not None:
        peers = live_peers(live, addresses)
        for each in wanted:
            gate(result, each, peers)
        say(f"Nobody in {live} runs what would break.")
    elif any(wanted.values()):
        sys.exit(exit_code(Kind.CONTRACT))


@command.command("blame")
@click.argument("tree", default="", metavar="[TREE]")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save each signed record there.",
)
@address_option
@json_option
def blame_verb(tree: str, save: Path | None, addresses: tuple[str, ...], *, as_json: bool) -> None:
    """List who broke a contract, as the nodes of a tree saw it; each record is signed.

    \b
    Examples:
      bt contract blame
      bt contract blame /home --save evidence
    """  # noqa: D301
    print_blames(blames(tree, addresses), save, as_json=as_json)


@command.command("verify")
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--contract", "source", metavar="MODULE|FILE", help="Ask the contract, too.")
@json_option
def verify_verb(record: Path, source: str | None, *, as_json: bool) -> None:
    """Verify a record that `bt contract blame --save` saved, without having seen anything of it.

    \b
    Examples:
      bt contract verify evidence/3f9c2a.blame
      bt contract verify evidence/3f9c2a.blame --contract thermostat.py
    """  # noqa: D301
    contracts = contracts_in(load(source)) if source else None
    verify_file(record, contracts, as_json=as_json)


def _checked(source: str, name: str) -> Contract:
    contract = one_contract(load(source), name)
    raise_first(check(contract))
    return contract


def _role(source: str, name: str, role: str) -> Role:
    contract = _checked(source, name)
    if not role:
        roles = " or ".join(each.name for each in contract.roles)
        raise Fault(Kind.USAGE, f"{contract.name}: for which role?", next_step=f"--role {roles}")
    return contract.role(role)


def _write(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    else:
        output.write_bytes(data)
        say(f"Wrote {output}, {len(data):,} bytes.")


def _show(finding: Finding) -> None:
    rule = click.style(finding.rule.value, fg="red", bold=True)
    click.echo(f"{finding.place}: {rule}: {finding.what}", color=colour())
    for line in lanes(finding):
        click.echo(f"    {line}")


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule.value,
        "what": finding.what,
        "file": finding.place.file,
        "line": finding.place.line,
        "trace": [{"role": s.role, "what": s.what, "with": s.other} for s in finding.trace],
    }


def _sizes(contract: Contract) -> str:
    states = sum(len(role.states) for role in contract.roles)
    names = " and ".join(role.name for role in contract.roles)
    return f"{names}, {states} states"


def _print_diff(result: Comparison, wanted: dict[str, tuple[Finding, ...]]) -> None:
    for change in result.changes:
        mark = click.style("+", fg="green") if change.added else click.style("-", fg="red")
        click.echo(f"{mark} {change.what}", color=colour())
    if not result.changes:
        say("Nothing that is said has changed.")
    for role, findings in wanted.items():
        if not findings:
            say(f"{role}: can be upgraded first, partners of version {result.old.version} fit it.")
        for finding in findings:
            say(f"{role}: cannot be upgraded before its partners:")
            _show(finding)


def _print_diff_json(result: Comparison, wanted: dict[str, tuple[Finding, ...]]) -> None:
    changes = [{"added": change.added, "what": change.what} for change in result.changes]
    breaks = {role: [_finding(f) for f in findings] for role, findings in wanted.items()}
    old, new = result.old.version, result.new.version
    print_json("contract.diff", {"old": old, "new": new, "changes": changes, "breaks": breaks})
