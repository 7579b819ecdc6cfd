"""Bad input, bad devices, bad gateways: dropped, counted, named; good neighbours notice nothing."""

import asyncio
import logging
import os
import random
import time
from pathlib import Path

import cbor2
import pytest

from blocktree.actors.blames import Ledger
from blocktree.actors.description import Contracts, GetContracts
from blocktree.contract import check
from blocktree.contract.blame import verify
from blocktree.contract.written import write
from blocktree.fault import Fault, Kind
from blocktree.keys.chain import read_chain
from blocktree.link import Side
from blocktree.wire import Record, encode
from blocktree_gateway.adopting import circle_of, new_adoption, settle
from blocktree_gateway.contracts import DEVICE, DEVICE_SESSION
from blocktree_gateway.devicemessages import Perform, Performed, Yielded
from blocktree_gateway.links.framing import encode_frame
from blocktree_gateway.messages import Alive, Answer, Bye, Command, Entry, Kept, Reading, Start
from blocktree_gateway.pairer import Adoption
from blocktree_gateway.session.keys import Purpose
from blocktree_gateway.session.packets import Hello, Refuse, encode_hello
from gateway.house import Cable, House, Program, house, udp_device
from gateway.peer import Peer, until_true

ATTIC, CELLAR = (b"sensors", b"attic"), (b"sensors", b"cellar")


async def adopted(home: House, place: tuple[bytes, ...]) -> Adoption:
    """A device that belongs, without the pairing."""
    circle = circle_of(home.user.tree, await home.devices.gateways(), (), home.user)
    path = home.path(*[name.decode() for name in place])
    adoption, record = new_adoption(home.user, path, circle, "peer", ("", ""))
    await settle(home.devices, place, record)
    return adoption


async def peer(home: House, place: tuple[bytes, ...]) -> Peer:
    gateway = next(iter(home.gateways.values()))[0]
    assert gateway.udp is not None
    made = await Peer(await adopted(home, place), ("127.0.0.1", gateway.udp.number)).open(
        home.opened
    )
    await made.enter()
    return made


def test_the_contracts_of_devices_have_no_flaw() -> None:
    assert not check(DEVICE_SESSION)
    assert not check(DEVICE)


def test_who_says_to_a_device_what_its_contract_does_not_know_is_refused_alone(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            device = await peer(home, ATTIC)
            device.greet()
            state = await home.until_here(ATTIC)
            contracts = await home.ask(ATTIC, GetContracts(), Contracts)
            assert contracts.contracts == (encode(write(DEVICE)),)
            with pytest.raises(Fault) as caught:
                await home.ask(ATTIC, Yielded(()), Record)
            assert caught.value.kind is Kind.CONTRACT
            assert "GetDevice" in caught.value.what
            assert (await home.state(ATTIC)).device == state.device

    asyncio.run(scene())


def test_a_device_that_breaks_the_contract_is_named_and_its_neighbour_goes_on(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            gateway = await home.gateway()
            runtime = gateway.speaking._runtime
            runtime.ledger = Ledger(Side(gateway._above.credential, lambda _: None))
            rude, good = await peer(home, ATTIC), await peer(home, CELLAR)
            good.greet()
            rude.say(Alive(1))
            await until_true(lambda: any(isinstance(m, Bye) for m in rude.heard))
            farewell = next(m for m in rude.heard if isinstance(m, Bye))
            assert farewell.sentence == "Alive may not come in state greeting, which takes Report"
            (record,) = runtime.ledger.shown().blames
            said, reporter = verify(record, roles=(DEVICE_SESSION.role("gateway"),))
            assert said.offender == f"{read_chain(said.certificates).path}#"
            assert (said.state, said.message) == ("greeting", "Alive")
            assert reporter.path == runtime.here
            state = await home.until_away(ATTIC)
            assert "broke its contract: Alive may not come" in state.trouble
            good.say(good.entry(Start("", bytes(8), ("count - 0",), 0, 0, bytes(32))))
            await until_true(lambda: Kept(1, 0) in good.heard)
            await rude.enter()
            rude.greet()
            await home.until_here(ATTIC)

    asyncio.run(scene())


def test_ten_thousand_forged_hellos_a_second_leave_a_good_device_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            gateway = await home.gateway()
            good, victim = await peer(home, ATTIC), await adopted(home, CELLAR)
            good.greet()
            await gateway.roll.refresh()
            flood = await Peer(victim, good.gateway).open(home.opened)
            dice = random.Random(1)
            until, sent = time.monotonic() + 2.0, 0
            good.say(good.entry(Start("", bytes(8), ("count - 0",), 0, 0, bytes(32))))
            while time.monotonic() < until:
                for _ in range(100):
                    sent += 1
                    flood.send(bad_packet(dice, victim.device[:8], good.packets))
                await asyncio.sleep(0.01)
                if sent % 2000 == 0:
                    good.say(good.entry(Reading(1, None, (sent,))))
            last = good.seq - 1
            await until_true(lambda: Kept(1, last) in good.heard)
            assert sum(gateway.reception.drops.values()) > 1000
            assert len(gateway.reception.conversations) == 1
            assert len(gateway.reception._by_nonce) == 1
            assert len(gateway._door._made) < 10
            assert len(gateway.reception._hellos) <= 2
            proof = await home.proof(ATTIC)
            assert proof.holds

    with caplog.at_level(logging.WARNING):
        asyncio.run(scene())
    assert sum("dropped" in line.message for line in caplog.records) <= 2


def test_a_gateway_refuses_old_keys_and_not_keys_that_it_was_not_given_yet(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway("one")
            adoption = await adopted(home, ATTIC)
            await home.stop("one")
            gateway = await home.gateway("two")  # nobody is left to give it the secrets
            assert gateway.udp is not None
            device = await Peer(adoption, ("127.0.0.1", gateway.udp.number)).open(home.opened)
            for epoch in (1, 0):
                hello = Hello(Purpose.SERVE, epoch, adoption.device[:8], bytes([epoch] * 16), "")
                device.send(encode_hello(hello))
            await until_true(lambda: bool(device.answers))
            (refusal,) = device.answers
            assert isinstance(refusal, Refuse)
            assert refusal.nonce_d == bytes(16)
            assert gateway.reception.drops["a device whose secrets are not given on yet"] == 1

    asyncio.run(scene())


def bad_packet(dice: random.Random, hint: bytes, packets: list[bytes]) -> bytes:
    """Hellos in a good and in any name, garbage, and records of a session cut, altered, again."""
    kind = dice.randrange(5)
    if kind == 0:
        return encode_hello(Hello(Purpose.SERVE, 1, hint, dice.randbytes(16), "x"))
    if kind == 1:
        return encode_hello(Hello(Purpose.SERVE, 1, dice.randbytes(8), dice.randbytes(16), ""))
    if kind == 2 or not packets:
        return dice.randbytes(dice.randrange(1, 400))
    packet = bytearray(dice.choice(packets))
    if kind == 3:
        packet[dice.randrange(5, len(packet))] ^= 1 << dice.randrange(8)
        return bytes(packet)
    return bytes(packet[: dice.randrange(len(packet) + 1)])


def test_a_recorded_packet_is_taken_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            gateway = await home.gateway()
            device = await peer(home, ATTIC)
            device.greet()
            device.say(device.entry(Start("", bytes(8), (), 0, 0, bytes(32))))
            await until_true(lambda: Kept(1, 0) in device.heard)
            before = gateway.reception.drops["forged, doubled or malformed"]
            recorded = list(device.packets)  # those that it sends meanwhile are not among them
            for packet in recorded:
                device.send(packet)
            await until_true(
                lambda: (
                    gateway.reception.drops["forged, doubled or malformed"]
                    >= before + len(recorded)
                )
            )
            assert len((await home.proof(ATTIC)).told) == 1

    asyncio.run(scene())


def test_noise_on_a_serial_line_costs_frames_and_not_the_session(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            cable = Cable(tmp_path / "cable")
            cable.plug()
            near, far = cable.ends
            await home.gateway()
            device = Program(micropython, tmp_path / "device")
            home.programs.append(device)
            device.start(links=[{"kind": "serial", "path": str(far)}])
            await home.adopt(ATTIC, None, port=str(near))
            await home.stop("pi")
            gateway = await home.gateway(serial=(str(near),))
            await home.until_here(ATTIC, "serial")
            dice = random.Random(2)
            for _ in range(40):
                cable.noise = dice.randbytes(dice.randrange(60)) + encode_frame(b"\x05junk")
                await asyncio.sleep(0.03)
            cable.noise = b""
            count = len((await home.proof(ATTIC)).readings)
            proof = await home.until_readings(ATTIC, count + 5)
            assert proof.holds
            assert gateway.ports[str(near)].deframer.drops > 5
            cable.pull()

    asyncio.run(scene())


def test_a_patched_gateway_that_edits_a_reading_is_caught_by_the_reader(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            gateway = await home.gateway()
            _, device = await udp_device(home, micropython, ATTIC)
            await home.until_readings(ATTIC, 3)
            keeper = gateway.speaking.held[device.device].keeper
            assert keeper is not None
            honest = keeper.stream.append
            edited: list[tuple[int, int]] = []

            async def append(items: list[object]) -> None:
                for at, item in enumerate(items):
                    if isinstance(item, Entry) and not edited:
                        sealed = bytes([item.sealed[0] ^ 1]) + item.sealed[1:]
                        lie = Entry(item.epoch, item.boot, item.seq, item.prev, sealed)
                        edited.append(lie.place)
                        items = [*items[:at], lie, *items[at + 1 :]]
                await honest(items)  # type: ignore[arg-type]

            keeper.stream.append = append  # type: ignore[assignment, method-assign]
            await until_true(lambda: bool(edited))
            before = len((await home.proof(ATTIC)).readings)
            proof = await home.until_readings(ATTIC, before + 3)
            boot, seq = edited[0]
            assert [fault.path for fault in proof.faults] == [f"boot {boot} seq {seq}"]
            assert "altered" in proof.faults[0].what

    asyncio.run(scene())


def test_two_devices_cannot_have_one_path(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            await adopted(home, ATTIC)
            with pytest.raises(Exception, match=r"belongs to device .* already"):
                await adopted(home, ATTIC)

    asyncio.run(scene())


def test_a_wrong_setup_code_is_refused_and_changes_nothing(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            program, _ = await udp_device(home, micropython, ATTIC)
            await home.until_here(ATTIC)
            with pytest.raises(Exception, match=r"no device answers|setup code"):
                await home.adopt(CELLAR, os.urandom(16), udp=("127.0.0.1", program.port))
            assert await home.devices.at(CELLAR) is None
            count = len((await home.proof(ATTIC)).readings)
            await home.until_readings(ATTIC, count + 2)

    asyncio.run(scene())


def test_a_device_moves_to_another_gateway_with_the_commands_that_waited(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            first = await home.gateway("one")
            adoption = await adopted(home, ATTIC)
            await first.roll.refresh()
            await home.until_held(first, adoption.device)
            command = Perform("Led.set", cbor2.dumps([True]), 100)
            assert (await home.ask(ATTIC, command, Performed)).kind == 13
            second = await home.gateway("two")
            assert second.udp is not None
            device = await Peer(adoption, ("127.0.0.1", second.udp.number)).open(home.opened)
            await device.enter()
            device.greet()
            await until_true(lambda: any(isinstance(m, Command) for m in device.heard))
            sent = next(m for m in device.heard if isinstance(m, Command))
            device.say(Answer(sent.id, 0, b"\x80", 5, None))
            assert adoption.device in second.speaking.held
            assert adoption.device not in first.speaking.held

    asyncio.run(scene())


def test_a_gateway_that_is_in_session_with_a_device_does_not_give_it_up(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            first = await home.gateway("one")
            device = await peer(home, ATTIC)
            device.greet()
            second = await home.gateway("two")
            await second.roll.refresh()
            assert second.udp is not None
            stranger = await Peer(device.adoption, ("127.0.0.1", second.udp.number)).open(
                home.opened
            )
            hello = Hello(Purpose.SERVE, 1, device.adoption.device[:8], os.urandom(16), "")
            stranger.send(encode_hello(hello))
            for _ in range(30):
                device.say(Alive(1))
                await asyncio.sleep(0.1)
            assert device.adoption.device in first.speaking.held
            assert device.adoption.device not in second.speaking.held

    asyncio.run(scene())
