"""The device's end of a UDP session in this process: for what no honest device would say.

Also light enough that a benchmark can have a hundred of them.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from blocktree.wire import Record, encode
from blocktree_gateway.decoding import decode_message
from blocktree_gateway.messages import Face, Report
from blocktree_gateway.pairer import Adoption
from blocktree_gateway.session.keys import Purpose, derive, opens_nothing, seal_nothing
from blocktree_gateway.session.packets import (
    Hello,
    Ready,
    Refuse,
    Welcome,
    confirm_head,
    encode_hello,
    read_packet,
    ready_head,
)
from blocktree_gateway.session.session import Session
from blocktree_gateway.stream.entries import FIRST_PREV, entry_hash, seal_entry

_T = TypeVar("_T")


class Peer(asyncio.DatagramProtocol):
    """One device; `open` it, `enter`, then `say`."""

    def __init__(self, adoption: Adoption, gateway: tuple[str, int]) -> None:
        self.adoption = adoption
        self.gateway = gateway
        self.heard: list[Record] = []
        self.on_message: Callable[[Record], None] = self.heard.append
        self.refused: Refuse | None = None
        self.session: Session | None = None
        self.packets: list[bytes] = []
        self._event = asyncio.Event()
        self.answers: list[object] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.boot, self.seq, self.prev = 1, 0, FIRST_PREV

    async def open(self, opened: "list[Peer]") -> "Peer":
        """Open its socket; it is closed with the others of `opened`."""
        opened.append(self)
        self._transport, _ = await self._loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        return self

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()

    def send(self, packet: bytes) -> None:
        self._transport.sendto(packet, self.gateway)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        del addr
        if data[0] == 5 and self.session is not None:
            opened = self.session.receive(data, self._loop.time())
            if opened is not None and opened.message is not None:
                self.on_message(decode_message(opened.message))
            self.pump()
        else:
            self.answers.append(read_packet(data))
        self._event.set()

    async def enter(self, seconds: float = 30.0) -> None:
        """The handshake, again and again until it is done."""
        device, epoch = self.adoption.device, self.adoption.epoch
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            nonce = os.urandom(16)
            self.answers.clear()
            self.send(encode_hello(Hello(Purpose.SERVE, epoch, device[:8], nonce, "peer")))
            welcome = await self._answer(Welcome, 0.5)
            if welcome is None:
                self.refused = next((a for a in self.answers if isinstance(a, Refuse)), None)
                continue
            keys = derive(
                self.adoption.link_secret, nonce, welcome.nonce_g, Purpose.SERVE, epoch, device[:8]
            )
            head = confirm_head(device[:8], epoch, Purpose.SERVE, nonce, welcome.nonce_g)
            self.send(head + seal_nothing(keys.device, head))
            ready = await self._answer(Ready, 1.0)
            if ready is not None and opens_nothing(keys.gateway, ready_head(nonce), ready.tag):
                self.session = Session(keys, gateway=False, ordered=False)
                return
        raise AssertionError("no session")

    def greet(self) -> None:
        device = self.adoption.device
        self.say(Report(device, self.boot, self.boot, 0, self.seq, "peer", "", "", bytes(8), 0, 0))
        self.say(Face(("count - 0",), ("Led.set on:bool",)))

    def say(self, message: Record) -> None:
        assert self.session is not None
        self.session.post(encode(message))
        self.pump()

    def entry(self, content: Record) -> Record:
        a = self.adoption
        made = seal_entry(
            content, a.device, a.reading_secret, a.epoch, (self.boot, self.seq), self.prev
        )
        self.seq, self.prev = self.seq + 1, entry_hash(made)
        return made

    def pump(self) -> None:
        assert self.session is not None
        for packet in self.session.ready(self._loop.time()):
            self.packets.append(packet)
            del self.packets[:-16]
            self.send(packet)
        due = self.session.next_at()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self.pump)

    async def _answer(self, kind: type[_T], seconds: float) -> _T | None:
        deadline = self._loop.time() + seconds
        while (left := deadline - self._loop.time()) > 0:
            for answer in self.answers:
                if isinstance(answer, kind):
                    return answer
            self._event.clear()
            try:
                await asyncio.wait_for(self._event.wait(), left)
            except TimeoutError:
                return None
        return None


async def until_true(look: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "did not come to be"
        await asyncio.sleep(0.02)


Scene = Callable[[], Awaitable[None]]
