"""Contracts of a running tree: who plays which role now, and who was blamed for breaking one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

from blocktree.actors.blames import BLAMES_ACTOR, Blames, GetBlames
from blocktree.cli.output import print_json, print_table, say
from blocktree.cli.places import here
from blocktree.cli.reports import find_tree
from blocktree.cli.session import Session, run
from blocktree.contract import Contract, Role
from blocktree.contract.blame import Accusation, verify
from blocktree.contract.versions import Peer
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.keys.chain import say_time
from blocktree.names import Address, Path
from blocktree.services import upgrade as services

_SECONDS = 5.0


def live_peers(tree: str, addresses: Sequence[str]) -> list[Peer]:
    """Everybody who answers at a path of a tree now and plays a role of a contract.

    Raises:
        Fault: UNREACHABLE, NO_QUORUM.
    """
    place = find_tree(tree)

    async def work(session: Session) -> list[Peer]:
        client = (await session.tree(place)).client
        root = Path(f"/{place.tree()}")
        found = await services.live_peers(client.runtime, client.paths.service, root)
        return [Peer(_aliased(peer.name), peer.role, peer.mark) for peer in found]

    return run(work, addresses)


def blames(tree: str, addresses: Sequence[str]) -> list[tuple[Path, Blames | Fault]]:
    """What each node of a tree has in its ledger, and each other process that answers at paths.

    Raises:
        Fault: UNREACHABLE if no node answers.
    """
    place = find_tree(tree)

    async def work(session: Session) -> list[tuple[Path, Blames | Fault]]:
        client = (await session.tree(place)).client

        async def ask(node: Path) -> tuple[Path, Blames | Fault]:
            to = Address(node, BLAMES_ACTOR)
            try:
                return node, await client.runtime.ask(to, GetBlames(), Blames, timeout=_SECONDS)
            except Fault as fault:
                return node, fault

        nodes = set(client.nodes())
        listed = await services.providers(client.paths.service, Path(f"/{place.tree()}"))
        others = {provider.process for provider in listed} - nodes
        answers = await asyncio.gather(*map(ask, sorted(nodes | others)))
        return [  # a process that keeps no ledger says nothing, and nobody misses it
            (path, said) for path, said in answers if path in nodes or isinstance(said, Blames)
        ]

    return run(work, addresses)


def print_blames(
    found: list[tuple[Path, Blames | Fault]], save: File | None, *, as_json: bool
) -> None:
    """Show each record that verifies, and say of which node there is nothing."""
    shown: list[tuple[bytes, Accusation]] = []
    for node, answer in found:
        if isinstance(answer, Fault):
            say(f"{_aliased(node)} does not say: {answer.what}")
            continue
        for record in answer.blames:
            try:
                shown.append((record, verify(record)[0]))
            except Fault as fault:
                say(f"{_aliased(node)} shows a record that does not verify: {fault.what}")
    if save is not None:
        _save(shown, save)
    if as_json:
        print_json("contract.blame", {"blames": [_json(said, record) for record, said in shown]})
    elif not shown:
        say("Nobody broke a contract.")
    else:
        rows = [_row(said) for _, said in sorted(shown, key=lambda each: each[1].at)]
        print_table(("WHEN", "OFFENDER", "AGAINST", "STATE", "SAID", "EXPECTED"), rows)


def verify_file(file: File, contracts: Sequence[Contract] | None, *, as_json: bool) -> None:
    """Verify a saved record and say what it proves.

    Raises:
        Fault: as `blame.verify`; NOT_FOUND if the contracts are not those that it names.
    """
    data = file.read_bytes()
    try:
        said, reporter = verify(data)
        roles = [] if contracts is None else _roles(said, contracts)
        if roles:
            verify(data, roles=roles)
    except Fault as fault:
        raise fault.at(str(file)) from None
    if as_json:
        content = {**_json(said, data), "tree": reporter.tree, "contract_asked": bool(roles)}
        print_json("contract.verify", content)
        return
    known = "" if _known(reporter) else " (a tree that this machine does not know)"
    say(f"Signed by {_aliased(reporter.path)} of the tree {reporter.tree[:13]}…{known}.")
    say(f"{_aliased(said.offender)} said {said.message} ({said.digest.hex()[:16]}…)")
    say(f"  to {_aliased(said.reporter)}, on {say_time(said.at)},")
    say(f"  in state {said.state} of {' and '.join(said.roles)}, where {_expected(said)} may come.")
    say("The contract says so, too." if roles else "Not asked: the contract (--contract FILE).")


def _roles(said: Accusation, contracts: Sequence[Contract]) -> list[Role]:
    found = {str(role): role for contract in contracts for role in contract.roles}
    missing = [name for name in said.roles if name not in found]
    if missing:
        what = f"is about {' and '.join(missing)}, which is not there"
        raise Fault(Kind.NOT_FOUND, what)
    return [found[name] for name in said.roles]


def _known(reporter: Identity) -> bool:
    return any(place.tree() == reporter.tree for place in here().trees())


def _save(shown: list[tuple[bytes, Accusation]], folder: File) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for record, said in shown:
        (folder / f"{said.digest.hex()[:12]}-{said.at}.blame").write_bytes(record)
    say(f"Saved {len(shown)} records in {folder}. Verify one: bt contract verify FILE")


def _row(said: Accusation) -> tuple[str, ...]:
    return (
        say_time(said.at),
        _aliased(said.offender),
        _aliased(said.reporter),
        said.state,
        said.message,
        _expected(said),
    )


def _expected(said: Accusation) -> str:
    return " or ".join(said.expected) or "nothing"


def _aliased(text: str) -> str:
    """A path or address with the names of trees in place of their ids."""
    for place in here().trees():
        text = text.replace(f"/{place.tree()}", f"/{place.alias}")
    return text


def _json(said: Accusation, record: bytes) -> dict[str, Any]:
    return {
        "offender": _aliased(said.offender),
        "reporter": _aliased(said.reporter),
        "roles": list(said.roles),
        "contracts": [each.hex() for each in said.contracts],
        "state": said.state,
        "expected": list(said.expected),
        "message": said.message,
        "sha256": said.digest.hex(),
        "at": said.at,
        "record": record.hex(),
    }
