"""The pure parts of the runtime, in simulated time, under any loss, doubling and garbage."""

import asyncio
import itertools
import random
from pathlib import Path
from typing import Any

import cbor2
import pytest
from bt import cbor, cobs, mdns, messages, packets, session, wifi
from bt.buffer import Buffer
from bt.fault import Fault
from bt.letters import Letters
from bt.monitor import Monitor
from bt.slots import A, B, Slots
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroconf import ServiceInfo
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing

import board.peer as p
from board.device_vectors import DEVICE

LINK = bytes(range(32))
GATEWAYS = "_btgateway._udp.local."


class Air:
    """Two sides of letters, and what is between them."""

    def __init__(self, seed: int, loss: float) -> None:
        self.dice = random.Random(seed)
        self.loss = loss
        self.now = 0
        self.sides = Letters(0), Letters(0)
        self.got: tuple[list[bytes], list[bytes]] = ([], [])
        self.flying: list[tuple[int, int, bytes]] = []

    def step(self) -> None:
        self.now += 10
        for side in (0, 1):
            for letter in self.sides[side].due(self.now):
                for _ in range(self.dice.choice((1, 1, 1, 2))):
                    if self.dice.random() >= self.loss:
                        arrives = self.now + self.dice.randrange(5, 120)
                        self.flying.append((arrives, 1 - side, letter))
        due = [each for each in self.flying if each[0] <= self.now]
        self.flying = [each for each in self.flying if each[0] > self.now]
        for _arrives, side, letter in due:
            self.sides[side].receive(letter, self.now, self.taker(side))

    def taker(self, side: int) -> Any:
        def take(message: bytes) -> bool:
            if self.dice.random() < 0.1:
                return False  # no room now
            self.got[side].append(bytes(message))
            return True

        return take


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.4])
def test_letters_arrive_once_and_in_order_whatever_is_lost(loss: float) -> None:
    for seed in range(30):
        air = Air(seed, loss)
        said: tuple[list[bytes], list[bytes]] = ([], [])
        for turn in range(40_000):
            for side in (0, 1):
                if len(said[side]) < 25 and air.sides[side].room():
                    said[side].append(b"%d %d" % (side, turn))
                    air.sides[side].send(said[side][-1])
            air.step()
            done = air.got == (said[1], said[0]) and len(said[0]) == 25
            if done or air.sides[0].lost or air.sides[1].lost:
                break
        for side in (0, 1):
            assert air.got[side] == said[1 - side][: len(air.got[side])]
        assert done or loss > 0.1, seed


def test_at_most_four_letters_are_on_the_way_and_silence_ends_the_session() -> None:
    letters = Letters(0)
    while letters.room():
        letters.send(b"x")
    sent = [len(letters.due(now)) for now in range(0, 60_000, 10)]
    assert max(sent) == 4
    assert sum(sent) == 8 * 4
    assert letters.lost


def test_repeats_wait_longer_each_time() -> None:
    letters = Letters(0)
    letters.send(b"x")
    times = [now for now in range(0, 60_000, 10) if letters.due(now)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == [500, 1000, 2000, 4000, 8000, 8000, 8000]


class Me:
    """An identity."""

    epoch = 1
    link_secret = LINK
    setup_secret = b""
    wifi = ("", "")

    def hint(self, _purpose: int) -> bytes:
        return DEVICE[:8]


def new_session(taken: list[bytes], seed: int = 1) -> Any:
    dice = random.Random(seed).randbytes

    def take(message: bytes) -> bool:
        taken.append(message)
        return True

    return session.Session(Me(), packets.SERVE, "unix", 0, take, dice)


def test_a_false_gateway_that_answers_first_keeps_nobody_out() -> None:
    mine = new_session([])
    mine.tick(0)
    hello, _ = mine.outgoing()[0]
    nonce_d, nonce_g = hello[13:29], bytes(16)
    mine.receive(p.welcome(nonce_d, bytes(range(16)), 0), "false", 1)
    mine.receive(p.welcome(nonce_d, nonce_g, 0), "true", 2)
    asked = []
    for now in range(0, 5000, 50):
        mine.tick(now)
        asked += mine.outgoing()
        if asked and asked[-1][1] == "true":
            break
    confirm = asked[-1][0]
    keys = p.SessionKeys.derived(LINK, nonce_d, nonce_g, 0, 1, DEVICE[:8])
    assert keys.confirm(confirm[:44]) == confirm
    mine.receive(keys.ready(nonce_d), "true", 3000)
    assert mine.state == session.OPEN


def test_a_gateway_that_knew_nothing_of_it_is_taken_as_soon_as_it_does() -> None:
    mine = new_session([])
    mine.tick(0)
    (hello, _), *_ = mine.outgoing()
    mine.receive(p.refuse(None, hello[13:29], 10, "this tree does not know the device"), "new", 1)
    mine.tick(1000)
    (hello, _), *_ = mine.outgoing()
    mine.receive(p.welcome(hello[13:29], bytes(16), 0), "new", 1001)
    (confirm, where), *_ = mine.outgoing()
    assert (confirm[0], where) == (3, "new")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=250), max_size=12), st.integers(0, 3))
def test_no_packet_of_a_stranger_breaks_a_session(garbage: list[bytes], stage: int) -> None:
    taken: list[bytes] = []
    mine = new_session(taken)
    mine.tick(0)
    nonce_d = mine.outgoing()[0][0][13:29]
    keys = p.SessionKeys.derived(LINK, nonce_d, bytes(16), 0, 1, DEVICE[:8])
    if stage > 0:
        mine.receive(p.welcome(nonce_d, bytes(16), 0), "true", 1)
    if stage > 1:
        mine.receive(keys.ready(nonce_d), "true", 2)
    for i, packet in enumerate(garbage):
        mine.receive(packet, "stranger", 3 + i)
        mine.receive(bytes([i % 8]) + packet, "stranger", 3 + i)
        mine.tick(3 + i)
    if stage > 1:
        mine.receive(keys.from_gateway(1, b"\0\1\0\0hello"), "true", 100)
        assert taken == [b"hello"]
    assert len(mine.outgoing()) < 40


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=260))
def test_bytes_that_are_no_message_give_a_fault(data: bytes) -> None:
    try:
        message = messages.decode(data)
    except Fault:
        return
    assert cbor.dumps(message) == data


VALUES = st.recursive(
    st.one_of(
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.binary(max_size=40),
        st.text(max_size=20),
        st.booleans(),
        st.none(),
    ),
    lambda inner: st.lists(inner, max_size=6).map(tuple),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_values_are_written_as_the_library_writes_them(value: Any) -> None:
    assert cbor.dumps(value) == cbor2.dumps(value)
    try:
        assert cbor.loads(cbor2.dumps(value)) == value
    except Fault as fault:
        assert "deep" in fault.what  # noqa: PT017 - deeper than messages are


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=248), max_size=4),
    st.binary(max_size=300),
    st.data(),
)
def test_frames_survive_any_noise_around_them(
    sent: list[bytes], noise: bytes, data: st.DataObject
) -> None:
    deframer = cobs.Deframer()
    stream = noise + b"\0" + b"".join(cobs.encode(packet) for packet in sent)
    found = []
    while stream:
        size = data.draw(st.integers(20, 400))
        found += deframer.receive(stream[:size])
        stream = stream[size:]
    assert found[len(found) - len(sent) :] == sent


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_table_give_a_fault(data: bytes) -> None:
    for table in (data, b"BTC1" + data, b"BTC1\1\1" + bytes(8) + data):
        try:
            Monitor(table)
        except Fault:
            continue


def test_the_buffer_keeps_order_over_flash_and_restarts(tmp_path: Path) -> None:
    folder = str(tmp_path / "entries")
    buffer = Buffer(folder, 65_536)
    for seq in range(100):
        assert buffer.add((1, seq), b"entry %d" % seq) is None
    buffer.kept((1, 9))
    again = Buffer(folder, 65_536)  # the plug was pulled: what was in RAM only is gone
    for seq in range(5):
        again.add((2, seq), b"later %d" % seq)
    place, seen = (0, 0), []
    while found := again.after(place):
        place = found[0]
        seen.append(place)
    assert seen == [(1, seq) for seq in range(96)] + [(2, seq) for seq in range(5)]
    again.kept((1, 95))
    assert list(tmp_path.glob("entries/*")) == []
    assert again.oldest() == (2, 0)


def test_a_torn_segment_gives_what_is_whole(tmp_path: Path) -> None:
    folder = str(tmp_path / "entries")
    buffer = Buffer(folder, 65_536)
    for seq in range(33):
        buffer.add((1, seq), b"entry")
    (segment,) = tmp_path.glob("entries/*")
    segment.write_bytes(segment.read_bytes()[:-3])
    assert Buffer(folder, 65_536).safe() == ((1, 30), b"entry")


def test_slots_fall_back_after_three_crashes_and_remember_it(tmp_path: Path) -> None:
    file = tmp_path / "push"
    file.write_bytes(p.app_file({"app.py": b"x = 1"}))
    slots = Slots(str(tmp_path / "apps"), "factory", "climate")
    slots.install(str(file), "one", bytes(32))
    slots.proven()
    slots.install(str(file), "two", bytes(32))
    assert (slots.current, slots.app()[0]) == (A, "two")
    assert [slots.crashed(), slots.crashed()] == [False, False]
    again = Slots(str(tmp_path / "apps"), "factory", "climate")
    assert again.starting()  # the board itself went down with it
    assert (again.current, again.app()[0], again.trial) == (B, "one", False)
    assert not again.crashed()  # a proven app is never given up
    assert Slots(str(tmp_path / "apps"), "", "").current == B


class Station:
    """A radio as MicroPython shows it; joins after a while, unless the access point is off."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.again = asyncio.Event()
        self.on = True
        self._looks = 0

    def isconnected(self) -> bool:
        self._looks += 1
        return self.on and bool(self.asked) and self._looks > 2

    def active(self, _on: bool) -> None: ...

    def connect(self, name: str, password: str) -> None:
        self.asked.append((name, password))
        if len(self.asked) == 2:
            self.again.set()

    def disconnect(self) -> None: ...


def test_links_that_want_the_wifi_at_once_join_it_once_and_it_is_joined_again_when_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wifi, "_LOOK", 0.01)
    mine = Me()
    mine.wifi = ("home", "secret")
    station = Station()

    async def scene() -> None:
        joined = wifi.Wifi(station, mine)
        await asyncio.gather(joined.online(), joined.online())
        assert station.asked == [("home", "secret")]
        station.on = False
        await station.again.wait()
        station.on = True

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_without_a_name_there_is_no_wifi_to_join() -> None:
    with pytest.raises(OSError, match="--wifi"):
        asyncio.run(wifi.Wifi(Station(), Me()).online())


def announced(*ports: int) -> bytes:
    """What the library that gateways use answers a device's question with."""
    asked = DNSIncoming(mdns.question())
    (question,) = asked.questions
    assert (question.name, question.type, question.unicast) == (GATEWAYS, 12, True)
    answer = DNSOutgoing(0x8400, multicast=False)
    answer.add_question(question)
    for number, port in enumerate(ports):
        service = ServiceInfo(
            GATEWAYS,
            f"hall {number}.{GATEWAYS}",
            port=port,
            server=f"hall-{number}.local.",
            properties={"v": "1", "tls": "4781"},
            parsed_addresses=["10.77.0.1", "fd00::1"],
        )
        answer.add_answer(asked, service.dns_pointer())
        for one in (service.dns_service(), service.dns_text(), *service.dns_addresses()):
            answer.add_additional_answer(one)
    (packet,) = answer.packets()
    return packet


def test_a_device_reads_the_ports_of_gateways_from_an_answer_of_multicast_dns() -> None:
    assert mdns.ports(announced(4780)) == [4780]
    assert mdns.ports(announced(5780, 4780)) == [5780, 4780]
    assert mdns.ports(announced(*range(1, 9))) == [1, 2, 3, 4]
    whole = announced(4780)
    assert all(mdns.ports(whole[:size]) in ([], [4780]) for size in range(len(whole)))
    assert mdns.ports(whole.replace(b"_btgateway", b"_btgetaway")) == []
    assert mdns.ports(mdns.question()) == []


@given(st.binary(max_size=80), st.integers(0, 200))
def test_no_bytes_make_a_device_stumble_over_multicast_dns(noise: bytes, at: int) -> None:
    whole = announced(4780)
    spoiled = (whole[:at] + noise + whole[at + len(noise) :])[:512]
    for packet in (noise, spoiled):
        assert all(0 < port < 65536 for port in mdns.ports(packet))
