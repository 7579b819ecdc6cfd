"""Blame: whoever breaks a contract is named in a record that a stranger can verify."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.actors import Address, Runtime
from blocktree.actors.blames import (
    BLAMES_ACTOR,
    KEPT_MAX,
    SIGNED_PER_MINUTE,
    Blames,
    BlamesActor,
    GetBlames,
)
from blocktree.contract import Contract, Role, State, hears, mirror
from blocktree.contract.blame import Accusation, Blame, message_hash, verify
from blocktree.contract.written import contract_hash
from blocktree.fault import Fault, Kind
from blocktree.names import Path
from blocktree.wire import decode, encode
from contract.test_dispatch import BOX, Box
from contract.words import Close, Open, Opened, Put, Seal
from link.tree import make_node
from link.world import hosts, in_loop

BOX_ROLES = (BOX.role("box"),)


@contextlib.asynccontextmanager
async def two() -> AsyncIterator[tuple[Runtime, Runtime]]:
    async with hosts("pi-1", "pi-2") as (one, other):
        here, there = Runtime(one.path, one.links), Runtime(other.path, other.links)
        try:
            yield here, there
        finally:
            await here.close()
            await there.close()


async def a_blame() -> bytes:
    """`pi-1#jo` says `Put` to the shut box of `pi-2`, and is blamed."""
    async with two() as (here, there):
        box = await there.spawn("box", Box())
        jo = Address(here.here, "jo")
        with pytest.raises(Fault, match="Put may not come in state shut"):
            await here.ask(box, Put(7), sender=jo)
        await here.ask(box, Open(), Opened, sender=Address(here.here, "kim"))
        return there.ledger.shown().blames[0]


@pytest.fixture(scope="module")
def blame() -> bytes:
    return asyncio.run(a_blame())


def test_a_stranger_verifies_who_broke_what_and_where(blame: bytes) -> None:
    reporter = make_node("pi-2")
    said, who = verify(blame, tree=reporter.tree, roles=BOX_ROLES)
    assert who.principal == reporter.principal
    assert said.offender == f"{make_node('pi-1').path}#jo"
    assert said.certificates == make_node("pi-1").chain
    assert said.reporter == f"{reporter.path}#box"
    assert (said.state, said.expected, said.message) == ("shut", ("Open",), "Put")
    assert said.digest == message_hash(Put(7)) != message_hash(Put(8))
    assert said.roles == ("box.box",)
    assert said.contracts == (contract_hash(BOX),)


def resigned(blame: bytes, signer: str, **changes: object) -> bytes:
    """The accusation with something changed, signed anew by a node."""
    signed = decode(blame, Blame)
    said = decode(signed.accusation, Accusation)
    altered = encode(dataclasses.replace(said, **changes))  # type: ignore[arg-type]
    node = make_node(signer)
    signature = node.key.sign(b"blocktree blame 1\0" + altered)
    return encode(Blame(altered, node.chain, signature))


def test_an_accusation_in_the_name_of_another_is_refused(blame: bytes) -> None:
    with pytest.raises(Fault, match="its certificate is for") as raised:
        verify(resigned(blame, "pi-3"))
    assert raised.value.kind is Kind.DAMAGED
    stolen = dataclasses.replace(
        decode(resigned(blame, "pi-3"), Blame), chain=make_node("pi-2").chain
    )
    with pytest.raises(Fault, match="signature does not match"):
        verify(encode(stolen))


def test_an_accusation_against_somebody_else_is_refused(blame: bytes) -> None:
    other = f"{make_node('pi-3').path}#jo"
    with pytest.raises(Fault, match="its certificate is for"):
        verify(resigned(blame, "pi-2", offender=other))
    with pytest.raises(Fault, match="its certificate is for"):
        verify(resigned(blame, "pi-2", certificates=make_node("pi-3").chain))


def test_an_accusation_that_the_contract_refutes_is_refused(blame: bytes) -> None:
    for changes in (
        {"message": "Open"},
        {"expected": ("Close",)},
        {"expected": ()},
        {"state": "nowhere"},
        {"contracts": (bytes(32),)},
        {"roles": ("box.user",)},
    ):
        with pytest.raises(Fault) as raised:
            verify(resigned(blame, "pi-2", **changes), roles=BOX_ROLES)
        assert raised.value.kind is Kind.CONTRACT


def test_another_version_of_the_contract_is_not_asked(blame: bytes) -> None:
    newer = Contract("box", 2, Role("box", State("shut", hears(Put))), mirror("user"))
    with pytest.raises(Fault, match="another contract, or another version"):
        verify(blame, roles=(newer.role("box"),))


def test_the_reporter_must_be_of_the_tree_that_is_asked_for(blame: bytes) -> None:
    with pytest.raises(Fault) as raised:
        verify(blame, tree=make_node("pi-1", seed=2).tree)
    assert raised.value.kind is Kind.WRONG_TREE


@given(st.data())
def test_a_blame_with_any_bit_changed_is_refused(blame: bytes, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, len(blame) * 8 - 1))
    altered = bytearray(blame)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Fault):
        verify(bytes(altered), roles=BOX_ROLES)


@in_loop
async def test_one_offender_is_blamed_once_and_the_rest_is_counted() -> None:
    async with two() as (here, there):
        box = await there.spawn("box", Box())
        for number in range(3 * SIGNED_PER_MINUTE):
            sender = Address(here.here, f"jo-{number // 2}")
            for message in (Put(1), Close(), Seal(1)):
                with pytest.raises(Fault):
                    await here.ask(box, message, sender=sender)
        shown = there.ledger.shown()
        assert len(shown.blames) == SIGNED_PER_MINUTE <= KEPT_MAX
        assert shown.count == 3 * SIGNED_PER_MINUTE // 2, "stopped conversations are not told again"


@in_loop
async def test_the_ledger_is_shown_to_whom_the_process_lets_see_it() -> None:
    async with two() as (here, there):

        def judge(call: object) -> None:
            raise Fault(Kind.DENIED, "not you")

        await there.spawn(BLAMES_ACTOR, BlamesActor(there.ledger, lambda _call: None))
        to = Address(there.here, BLAMES_ACTOR)
        assert await here.ask(to, GetBlames(), Blames) == Blames((), 0)
        await here.spawn(BLAMES_ACTOR, BlamesActor(here.ledger, judge))
        with pytest.raises(Fault, match="not you"):
            await there.ask(Address(here.here, BLAMES_ACTOR), GetBlames())


def test_a_process_without_links_has_nobody_to_sign_for_it() -> None:
    async def play() -> None:
        runtime = Runtime(Path("/bt1test/alone"))
        box = await runtime.spawn("box", Box())
        with pytest.raises(Fault):
            await runtime.ask(box, Put(1))
        assert runtime.ledger.shown() == Blames((), 1)
        await runtime.close()

    asyncio.run(play())
