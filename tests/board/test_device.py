"""The runtime in the real MicroPython, against the other half of the page."""

import hashlib
import os
import time
import tty
from dataclasses import dataclass
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

import board.peer as p
from blocktree.contract import Contract, Role, State, answers, lost, mirror
from blocktree.contract.compact import encode_table
from blocktree.wire import Record, record
from board.device_vectors import DEVICE, KEY, SCALAR, device_of
from board.lines import SerialLine
from board.small_gateway import Owner, SmallGateway
from board.world import SETUP, World, chain_holds

START, READING, CLOCK, LOST, NOTE = range(0x0C50, 0x0C55)


@pytest.mark.parametrize("kind", ["serial", "udp"])
def test_a_device_reports_measures_and_obeys(world: World, kind: str) -> None:
    gateway = world.run(world.line(kind))
    gateway.connect()
    report = gateway.wait(0x0C01)
    assert report[1] == DEVICE
    assert report[7:9] == ["unix", "climate"]
    gateway.until(lambda: len(gateway.readings()) >= 5)
    assert gateway.command("Climate.every", 60) == (0, [60])
    assert gateway.command("Climate.every", True) == (2, ["expected Climate.every seconds:int"])  # noqa: FBT003
    assert gateway.command("Climate.eat")[0] == 10
    assert chain_holds(gateway) >= 5
    first = gateway.entries[1, 0][1]
    assert first[0] == START
    assert first[3] == ["temperature °C -2", "humidity % -1"]


def test_time_is_unknown_until_it_was_told_and_then_dates_what_came_before(world: World) -> None:
    gateway = world.run(world.line("udp"))
    time.sleep(0.5)
    gateway.connect()
    gateway.until(lambda: len(gateway.readings()) >= 15)
    events = [event for _place, (_entry, event) in sorted(gateway.entries.items())]
    clock = next(i for i, event in enumerate(events) if event[0] == CLOCK)
    before = [e for e in events[:clock] if e[0] == READING]
    after = [e for e in events[clock:] if e[0] == READING]
    assert before
    assert all(e[2] is None for e in before)
    assert all(abs(e[2] - time.time() * 1000) < 10_000 for e in after)
    _code, uptime, told = events[clock]
    assert all(e[2] - told == e[1] - uptime for e in after)


def test_a_command_is_carried_out_once_however_often_it_comes(world: World) -> None:
    gateway = world.run(world.line("udp"), app="button", settings={})
    gateway.connect()
    number = os.urandom(8)
    for _ in range(3):
        gateway.tell(0x0C20, number, "Button.press", cbor2.dumps([120]))
        answer = gateway.wait(0x0C21)
        assert (answer[2], cbor2.loads(answer[3])) == (0, [1])
    assert gateway.command("Button.count") == (0, [1])


def test_a_switch_answers_with_what_it_is_now(world: World) -> None:
    gateway = world.run(world.line("udp"), app="switch", settings={})
    gateway.connect()
    assert gateway.command("Led.set", True) == (0, [True])  # noqa: FBT003
    assert gateway.command("Led.toggle") == (0, [False])
    assert gateway.command("Led.set", 1)[0] == 2
    gateway.until(lambda: len(gateway.readings()) >= 3)
    assert [event[3] for event in gateway.readings()] == [[0], [1], [0]]


def test_an_outage_loses_nothing_and_keeps_the_original_times(world: World) -> None:
    line = world.line("udp")
    gateway = world.run(line)
    gateway.connect()
    gateway.until(lambda: len(gateway.readings()) >= 3)
    gateway.command("Climate.now")
    began = time.time() * 1000
    time.sleep(5)  # nobody listens: some hundred readings, more than the RAM keeps
    assert list((world.folder / "state" / "entries").iterdir())
    ended = time.time() * 1000
    again = world.gateway(line)  # which knows no session
    while line.receive(0):
        pass
    line.send(b"\7\1\0" + bytes(42))
    again.connect()
    again.until(lambda: any((e[2] or 0) > ended for e in again.readings()))
    gateway.entries.update(again.entries)
    assert chain_holds(gateway) > 60
    during = [e for e in gateway.readings() if e[2] and began < e[2] < ended]
    assert len(during) >= 60
    oldest = min((world.folder / "state" / "entries").iterdir())
    again.keep()
    again.until(lambda: not oldest.exists())


def test_a_full_buffer_says_what_it_lost(world: World) -> None:
    gateway = world.run(world.line("udp"), buffer=8000, settings={"every": 4})
    time.sleep(2.5)
    gateway.connect()
    assert gateway.command("Climate.every", 60) == (0, [60])
    gateway.until(lambda: gateway.readings()[-1][1] > 2500)

    def unexplained() -> set[int]:
        lost = [e for _d, e in gateway.entries.values() if e[0] == LOST]
        gone = {seq for e in lost for seq in range(e[2], e[4] + 1)}
        have = {seq for _boot, seq in gateway.entries}
        assert 0 not in have
        return set(range(max(have) + 1)) - gone - have

    gateway.until(lambda: not unexplained())


def test_packets_lost_on_the_way_come_again(world: World) -> None:
    gateway = world.run(world.line("udp", loss=3))
    gateway.connect(seconds=30)
    gateway.until(lambda: len(gateway.readings()) >= 20, seconds=30)
    assert chain_holds(gateway) >= 20


def test_a_device_moves_between_links_and_goes_on_counting(world: World) -> None:
    serial, udp = world.line("serial"), world.line("udp")
    gateway = world.run(serial, udp)
    gateway.connect()
    gateway.until(lambda: len(gateway.readings()) >= 3)
    gateway.keep()
    before = gateway.wait(0x0C01)
    other = world.gateway(udp)
    serial.close()
    other.connect(seconds=60)
    report = other.wait(0x0C01)
    assert report[1:3] == before[1:3]
    other.until(lambda: len(other.readings()) >= 3)
    gateway.entries.update(other.entries)
    chain_holds(gateway)


def test_noise_and_garbage_are_dropped_and_the_session_lives(world: World) -> None:
    line = world.line("serial")
    gateway = world.run(line)
    gateway.connect()
    assert isinstance(line, SerialLine)
    line.noise(os.urandom(3000) + b"\0")
    line.noise(b"A" * 5000)
    line.noise(b"\0")
    for packet in (b"\5" + bytes(30), b"\4" + bytes(24), b"\6" + bytes(60), b"\2", b"\x09abc"):
        line.send(packet)
    seen = len(gateway.readings())
    gateway.until(lambda: len(gateway.readings()) > seen + 10)
    assert gateway.hellos == 1
    assert chain_holds(gateway)


def test_the_console_of_a_board_is_a_line_too_and_can_be_had_back(world: World) -> None:
    line = world.line("serial")
    assert isinstance(line, SerialLine)
    path = line.settings.pop("path")
    terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(terminal)
    gateway = world.run(line, console=terminal)
    gateway.connect()
    gateway.until(lambda: len(gateway.readings()) >= 5)
    assert gateway.command("Climate.every", 3)[1] == [3]  # the byte that would be Ctrl-C
    line.noise(b"\r\3")  # what mpremote sends before it flashes
    end = time.monotonic() + 5
    while world.running.alive:
        assert time.monotonic() < end
        time.sleep(0.05)
    os.close(terminal)


def test_a_forged_probe_ends_no_session(world: World) -> None:
    line = world.line("udp")
    gateway = world.run(line)
    gateway.connect()
    for _ in range(20):
        line.send(b"\7\1\0" + bytes(42))
    end = time.monotonic() + 3
    gateway.until(lambda: time.monotonic() > end)
    assert gateway.hellos == 1
    assert gateway.command("Climate.now")[0] == 0


def test_a_sleeping_device_says_so_and_obeys_when_it_wakes(world: World) -> None:
    gateway = world.run(world.line("udp"), settings={"every": 60_000})
    gateway.connect()
    app = p.app_file({"app.py": SLEEPER})
    assert gateway.push(1, "sleeper", app)[2] == 0
    assert gateway.wait(0x0C04) == [0x0C04, 1500]
    began = time.monotonic()
    assert gateway.command("Sleeper.hello") == (0, ["awake"])
    assert time.monotonic() - began > 1


def test_a_revoked_device_is_told_and_stays_away(world: World) -> None:
    gateway = world.run(world.line("udp"))
    gateway.refuse_with = (5, "revoked; pair it again with: bt device pair")
    gateway.until(lambda: gateway.hellos == 1)
    with pytest.raises(AssertionError):
        gateway.until(lambda: gateway.hellos > 1, seconds=4)


def test_a_refusal_that_nobody_could_have_signed_keeps_it_from_nobody_else(world: World) -> None:
    gateway = world.run(world.line("udp"))
    gateway.refuse_with = (5, "revoked")
    gateway.owner = Owner(link=bytes(32), reading=gateway.owner.reading, device=DEVICE)
    gateway.until(lambda: gateway.hellos > 2)


def test_checkpoints_are_signed_by_the_devices_own_key(world: World) -> None:
    gateway = world.run(world.line("udp"), checkpoint=1)
    gateway.connect()
    gateway.until(lambda: bool(gateway.checkpoints))
    _code, boot, seq, head, told, signature = gateway.checkpoints[0]
    gateway.until(lambda: (boot, seq) in gateway.entries)
    assert head == hashlib.sha256(gateway.entries[boot, seq][0]).digest()
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    signed = p.checkpoint_message(DEVICE, boot, seq, head, told or 0)
    KEY.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))


def test_the_plug_pulled_begins_another_boot_that_names_what_was_safe(world: World) -> None:
    gateway = world.run(world.line("udp"))
    time.sleep(4)  # enough for a segment in flash
    world.running.stop()
    world.running.start()
    gateway.connect()
    gateway.until(lambda: (2, 1) in gateway.entries)
    start = gateway.entries[2, 0][1]
    assert start[0] == START
    safe = (start[4], start[5])
    assert safe[0] == 1
    assert start[6] == hashlib.sha256(gateway.entries[safe][0]).digest()
    assert safe == max(place for place in gateway.entries if place[0] == 1)


def test_keys_are_rotated_by_who_holds_the_reading_secret(world: World) -> None:
    gateway = world.run(world.line("udp"))
    gateway.connect()
    forged = p.rekey(DEVICE, gateway.owner.link, 2, bytes(96))
    gateway.tell(0x0C44, 2, forged)
    assert gateway.wait(0x0C45)[2] == 4
    fresh = Owner(epoch=2, device=DEVICE)
    plain = fresh.link + fresh.reading + bytes(32)
    gateway.tell(0x0C44, 2, p.rekey(DEVICE, gateway.owner.reading, 2, plain))
    assert gateway.wait(0x0C45)[:3] == [0x0C45, 2, 0]
    old = dict(gateway.entries)
    after = SmallGateway(gateway.line, fresh)
    after.entries = {}
    _serve_both_epochs(after, world.owner)
    after.connect()
    after.until(lambda: any(cbor2.loads(d)[1] == 2 for d, _ in after.entries.values()))
    after.entries.update(old)
    chain_holds(after)


def _serve_both_epochs(gateway: SmallGateway, before: Owner) -> None:
    """A reader keeps the secrets of earlier epochs."""
    now = gateway.owner

    def entry(data: bytes, message: list[Any]) -> None:
        gateway.owner = before if message[1] == 1 else now
        SmallGateway._entry(gateway, data, message)
        gateway.owner = now

    gateway._entry = entry  # type: ignore[method-assign]


SLEEPER = b"""
from bt.app import DeviceApp
class App(DeviceApp):
    commands = ("Sleeper.hello",)
    def start(self):
        self.after(300, self.nap)
    async def nap(self):
        await self.sleep(1500)
    def sleeper_hello(self):
        return "awake"
"""


def notes(gateway: SmallGateway) -> list[str]:
    """The texts of the notes so far."""
    return [e[4] for _d, e in gateway.entries.values() if e[0] == NOTE]


GOOD = b"""
from bt.app import DeviceApp
class App(DeviceApp):
    columns = ("two - 0",)
    commands = ("Two.say",)
    def start(self):
        self.every(50, self.look)
    def look(self):
        self.reading(2)
    def two_say(self):
        return "two"
"""
BAD = GOOD.replace(b"self.reading(2)", b"raise OSError(5)")


def test_an_app_is_pushed_proves_itself_and_survives_a_restart(world: World) -> None:
    gateway = world.run(world.line("udp"), prove=1)
    gateway.connect()
    assert gateway.push(1, "two", p.app_file({"app.py": GOOD}))[2:] == [0, ""]
    gateway.until(lambda: any(m[0] == 0x0C34 and m[1] == "two" and m[3] == 2 for m in gateway.said))
    assert gateway.command("Two.say") == (0, ["two"])
    gateway.until(lambda: gateway.readings()[-1][3] == [2])
    world.running.stop()
    world.running.start()
    gateway.connect()
    gateway.said.clear()
    gateway.until(
        lambda: any(e[0] == START and p_[0] == 2 for p_, (_, e) in gateway.entries.items())
    )
    assert gateway.entries[2, 0][1][1] == "two"


def test_an_app_that_crashes_again_and_again_gives_way_to_the_one_before(world: World) -> None:
    gateway = world.run(world.line("udp"))
    gateway.connect()
    assert gateway.push(1, "bad", p.app_file({"app.py": BAD}))[2] == 0
    gateway.until(lambda: any(m[0] == 0x0C34 and m[3] == 3 for m in gateway.said), seconds=20)
    state = next(m for m in gateway.said if m[0] == 0x0C34 and m[3] == 3)
    assert state[1] == "climate"
    assert "OSError" in state[5]
    assert gateway.command("Climate.now")[0] == 0
    assert len([text for text in notes(gateway) if "app crashed: OSError" in text]) == 3


def test_what_is_no_app_is_refused_and_the_old_one_runs_on(world: World) -> None:
    gateway = world.run(world.line("udp"))
    gateway.connect()
    assert gateway.push(1, "x", b"\3abc")[2] == 9
    large = p.app_file({"app.py": GOOD, "contract.tbl": bytes(5000)})
    assert gateway.push(1, "x", large)[2] == 3
    proof = p.vouch(DEVICE, gateway.owner.reading, 1, bytes(32))
    gateway.tell(0x0C30, 1, "x", 60_000, bytes(32), proof)
    assert gateway.wait(0x0C33)[2] == 20
    forged = p.vouch(DEVICE, gateway.owner.link, 1, bytes(32))
    gateway.tell(0x0C30, 1, "x", 3, bytes(32), forged)
    assert gateway.wait(0x0C33)[2] == 5
    gateway.tell(0x0C30, 1, "x", 3, bytes(32), proof)
    gateway.tell(0x0C32, 0, b"abc")
    assert gateway.wait(0x0C33)[2] == 4
    assert gateway.command("Climate.now")[0] == 0


def adopt(gateway: SmallGateway, owner: Owner, scalar: bytes, purpose: int) -> list[Any]:
    """The pairer's part; gives Adopted."""
    gateway.connect(purpose)
    gateway.tell(0x0C40, 1, owner.link, owner.reading, scalar)
    gateway.tell(0x0C41, bytes(32), "/home/attic")
    gateway.tell(0x0C42, "", "")
    chain = b"".join(len(c).to_bytes(2) + c for c in (b"leaf" * 150, b"root" * 150))
    assert gateway.push(2, "chain", chain)[2] == 0
    adopted = gateway.wait(0x0C43)
    gateway.tell(0x0C08, 0, "welcome")
    gateway.owner = owner
    return adopted


@pytest.mark.parametrize(("kind", "purpose"), [("serial", 2), ("udp", 1)])
def test_a_bare_device_is_adopted_and_serves(world: World, kind: str, purpose: int) -> None:
    gateway = world.run(world.line(kind), paired=False, setup=p.setup_code(SETUP))
    owner = Owner(device=device_of(SCALAR))
    adopted = adopt(gateway, owner, SCALAR, purpose)
    assert adopted[1:] == [DEVICE, "/home/attic"]
    gateway.connect()
    gateway.until(lambda: len(gateway.readings()) >= 3)
    chain_holds(gateway)


def test_a_paired_device_is_adopted_anew_by_cable_without_erasing_it(world: World) -> None:
    gateway = world.run(world.line("serial"))
    gateway.connect()
    gateway.until(lambda: len(gateway.readings()) >= 3)
    scalar = hashlib.sha256(b"another").digest()
    gateway.line.send(b"\7\1\2" + bytes(42))
    other = world.gateway(gateway.line)
    owner = Owner(device=device_of(scalar))
    assert adopt(other, owner, scalar, 2)[1] == owner.device
    other.connect()
    other.until(lambda: len(other.readings()) >= 3)
    assert {cbor2.loads(d)[2] for d, _ in other.entries.values()} == {1}


def test_a_wrong_setup_code_adopts_nobody(world: World) -> None:
    gateway = world.run(world.line("udp"), paired=False, setup=p.setup_code(SETUP))
    gateway.setup = bytes(16)
    with pytest.raises(AssertionError):
        gateway.connect(1, seconds=3)
    assert gateway.hellos >= 1
    assert not (world.folder / "state" / "id").exists()


@record(0x7FC1)
@dataclass(frozen=True, slots=True)
class LockOpen(Record):
    """Open it."""


@record(0x7FC2)
@dataclass(frozen=True, slots=True)
class LockShut(Record):
    """Shut it."""


@record(0x7FC3)
@dataclass(frozen=True, slots=True)
class Done(Record):
    """It was done."""


LOCKS = Contract(
    "lock",
    1,
    Role(
        "lock",
        State("shut", answers(LockOpen, Done, then="opened")),
        State("opened", answers(LockShut, Done, then="shut"), lost(then="shut")),
    ),
    mirror("person"),
)
LOCK = b"""
from bt.app import DeviceApp
class App(DeviceApp):
    commands = ("Lock.open", "Lock.shut")
    def lock_open(self):
        return "opened"
    def lock_shut(self):
        return "shut"
"""


def test_a_command_out_of_order_stops_its_conversation_until_the_next_session(
    world: World,
) -> None:
    line = world.line("udp")
    gateway = world.run(line)
    gateway.connect()
    app = p.app_file({"app.py": LOCK, "contract.tbl": encode_table(LOCKS.role("lock"))})
    assert gateway.push(1, "lock", app)[2] == 0
    gateway.until(lambda: any(m[0] == 0x0C34 and m[1] == "lock" for m in gateway.said))
    assert gateway.command("Lock.open") == (0, ["opened"])
    kind, (sentence,) = gateway.command("Lock.open")
    assert kind == 3
    assert "LockOpen may not come in state opened, which expects LockShut" in sentence
    assert gateway.command("Lock.shut")[0] == 3
    gateway.until(lambda: any("contract broken" in text for text in notes(gateway)))
    again = world.gateway(line)
    line.send(b"\7\1\0" + bytes(42))
    again.connect()
    assert again.command("Lock.open") == (0, ["opened"])
    assert again.command("Lock.shut") == (0, ["shut"])
