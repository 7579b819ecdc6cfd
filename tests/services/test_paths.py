"""Actors at paths: found, followed, judged, and gone when they are dead; with real nodes."""

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path as File

import pytest

from blocktree.actors.places import Target
from blocktree.caps import Right, grant_to
from blocktree.fault import Fault, Kind
from blocktree.files.volume import ROOT_INO
from blocktree.keys import MemberKind, new_credential, user_path
from blocktree.names import Address, Path, join
from blocktree.store.place_messages import (
    HEARTBEAT_S,
    Forget,
    Forgotten,
    GetState,
    KeepState,
    KeptState,
    Providers,
    Resolve,
)
from services.test_running import files_of
from services.town import Add, Adder, Sum, townsman
from store.world import NOW, in_loop, until, world


@in_loop
async def test_a_message_to_a_path_finds_who_answers_there_and_follows_it(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        gate, spare, ann = [await townsman(tree, n) for n in ("gate", "spare", "laptop")]
        attic = tree.path("attic")
        await gate.runtime.spawn("attic", Adder("gate"))
        await spare.runtime.spawn("other", Adder("spare"))
        first = await gate.paths.registrar.hold(attic, "attic")
        assert await ann.runtime.ask(attic, Add(2), Sum) == Sum(2, "gate")
        await ann.runtime.tell(attic, Add(3))
        assert await ann.runtime.ask(attic, Add(0), Sum) == Sum(5, "gate")
        with pytest.raises(Fault) as taken:
            await spare.paths.registrar.hold(attic, "other")
        assert taken.value.kind is Kind.CONFLICT
        await gate.paths.registrar.withdraw(attic)
        second = await spare.paths.registrar.hold(attic, "other")
        assert second > first
        # ann still believes in the first: told that it moved, she looks again.
        assert await ann.runtime.ask(attic, Add(1), Sum) == Sum(1, "spare")
        assert await spare.runtime.ask(attic, Add(1), Sum) == Sum(2, "spare")  # also at home


@in_loop
async def test_a_path_that_nobody_answers_at_is_unreachable_soon(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await townsman(tree, "laptop")
        began = time.monotonic()
        with pytest.raises(Fault) as fault:
            await ann.runtime.ask(tree.path("nobody"), Add(1), Sum, timeout=3)
        assert fault.value.kind is Kind.UNREACHABLE
        assert fault.value.path == tree.path("nobody")
        assert time.monotonic() - began < 3


@in_loop
async def test_a_holder_that_dies_is_replaced_and_its_late_words_are_refused(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as tree:
        gate, spare, ann = [await townsman(tree, n) for n in ("gate", "spare", "laptop")]
        attic = tree.path("attic")
        for side in (gate, spare):
            await side.runtime.spawn("attic", Adder(side.client.credential.path))
        first = await gate.paths.registrar.hold(attic, "attic")
        await gate.die()
        second = await spare.paths.registrar.hold(attic, "attic", wait_s=20)
        assert second > first
        late = KeepState(attic, first, 1, b"late")
        with pytest.raises(Fault) as fenced:
            await ann.client.ask_places(late, KeptState)
        assert fenced.value.kind is Kind.CONFLICT
        assert f"epoch {first} is over" in fenced.value.what
        assert (await ann.runtime.ask(attic, Add(1), Sum)).by == spare.client.credential.path


@in_loop
async def test_a_holder_that_cannot_renew_stops_before_another_starts(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        gate, spare = [await townsman(tree, n) for n in ("gate", "spare")]
        attic, lost = tree.path("attic"), []
        await gate.runtime.spawn("attic", Adder("gate"))
        await spare.runtime.spawn("attic", Adder("spare"))
        registrar = gate.paths.registrar
        epoch = await registrar.hold(attic, "attic", lambda path: lost.append(time.monotonic()))
        assert registrar._task is not None
        registrar._task.cancel()  # its heartbeats do not arrive any more
        await spare.paths.registrar.hold(attic, "attic", wait_s=20)
        began = time.monotonic()
        assert lost
        assert lost[0] < began
        assert not registrar.holds(attic, epoch)
        with pytest.raises(Fault) as moved:
            gate.runtime.places.at(attic, epoch)
        assert moved.value.kind is Kind.MOVED


@in_loop
async def test_what_was_kept_is_forgotten_also_while_its_holder_leaves(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await townsman(tree, "laptop")
        attic, registrar = tree.path("attic"), ann.paths.registrar
        await ann.runtime.spawn("attic", Adder("ann"))
        for _ in range(5):
            epoch = await registrar.hold(attic, "attic")
            await ann.client.ask_places(KeepState(attic, epoch, 1, b"kept"), KeptState)
            forgetting = ann.client.ask_places(Forget(attic), Forgotten)
            await asyncio.gather(registrar.withdraw(attic), forgetting)
            assert (await ann.client.ask_places(GetState(attic), KeptState)).serial == 0


@in_loop
async def test_services_are_found_upwards_and_are_gone_soon_after_they_die(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as tree:
        one, two, ann = [await townsman(tree, n) for n in ("one", "two", "laptop")]
        printer = tree.path("services/printer")
        for side in (one, two):
            await side.runtime.spawn("printer", Adder(side.client.credential.path))
            await side.paths.registrar.offer(printer, "printer")
        kitchen = join(tree.path("kitchen"), "shelf")
        found = await ann.paths.resolver.find("services/printer", kitchen)
        assert {provider.process for provider in found} == {
            one.client.credential.path,
            two.client.credential.path,
        }
        await asyncio.sleep(2.5 * HEARTBEAT_S)  # both are kept alive
        assert len(await ann.paths.resolver.find("services/printer", kitchen)) == 2
        await one.die()
        died = time.monotonic()

        async def listed() -> int:
            reply = await ann.client.ask_places(Resolve(printer), Providers)
            return len(reply.providers)

        while await listed() > 1:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)
        assert time.monotonic() - died < 2 * HEARTBEAT_S + 0.5
        assert (await ann.runtime.ask(printer, Add(1), Sum)).by == two.client.credential.path
        with pytest.raises(Fault) as none:
            await ann.paths.resolver.find("services/scanner", kitchen)
        assert none.value.kind is Kind.UNREACHABLE
        with pytest.raises(Fault) as sole:
            await ann.paths.registrar.hold(printer, "x")
        assert sole.value.kind is Kind.CONFLICT


@in_loop
async def test_what_is_registered_outlives_the_leader(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        gate, ann = [await townsman(tree, n) for n in ("gate", "laptop")]
        attic, hall = tree.path("attic"), tree.path("hall")
        await gate.runtime.spawn("adder", Adder("gate"))
        epoch = await gate.paths.registrar.hold(attic, "adder")
        await gate.paths.registrar.offer(hall, "adder")
        await tree.crash(tree.leader())
        await until(tree.leader)
        await asyncio.sleep(2 * HEARTBEAT_S)
        assert gate.paths.registrar.holds(attic, epoch)
        for path in (attic, hall):
            assert (await ann.runtime.ask(path, Add(1), Sum)).by == "gate"


@in_loop
async def test_who_lacks_the_right_to_send_is_refused_at_the_door(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        gate = await townsman(tree, "gate")
        attic = tree.path("attic")
        adder = Adder("gate")
        await gate.runtime.spawn("adder", adder)
        epoch = await gate.paths.registrar.hold(attic, "adder")
        made = tree.tree
        bob = new_credential(
            made.owner, MemberKind.USER, user_path(made.tree, "bob"), now=NOW, draw=os.urandom
        )
        phone = await townsman(tree, "phone", replace(made, user=bob))
        phone.client.links.sources.append(lambda _: gate.addresses())
        phone.runtime.resolver = Known(Target(attic, Address(gate.runtime.here, "adder"), epoch))
        with pytest.raises(Fault) as denied:
            await phone.runtime.ask(attic, Add(1), Sum)
        assert denied.value.kind is Kind.DENIED
        assert "lacks the right to send" in denied.value.what
        await phone.runtime.tell(attic, Add(1))
        ann = await townsman(tree, "laptop")
        assert await ann.runtime.ask(attic, Add(4), Sum) == Sum(4, "gate")
        assert len(adder.calls) == 1
        assert adder.calls[0].path == attic
        async with files_of(tree) as files:
            may = [grant_to(bob.path, Right.SEND)]
            await files.sharing.give(ROOT_INO, made.owner, may, [])
        assert await phone.runtime.ask(attic, Add(1), Sum) == Sum(5, "gate")


class Known:
    """A resolver that was told."""

    def __init__(self, target: Target) -> None:
        self.target = target

    async def resolve(self, path: Path, /, *, timeout: float) -> Target:
        return self.target

    def forget(self, target: Target, /) -> None:
        pass
