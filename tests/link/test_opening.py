"""Who may open a link, and in which words the others are refused."""

import asyncio
import contextlib
import dataclasses
import socket
import ssl
from typing import Any

import pytest

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.link import Hello, Lane, Link, dial, listen, listener, opening
from blocktree.link.frames import VERSION
from blocktree.link.tls import client_context
from blocktree.names import Path
from blocktree.wire import encode, encode_frame
from link.tree import NOW, make_node
from link.world import Ear, ends, in_loop, make_side, until


def path_of(name: str) -> Path:
    return make_node(name).path


@in_loop
async def test_two_processes_of_a_tree_know_each_other_after_the_handshake() -> None:
    async with ends() as two:
        link = await two.dial(path_of("pi-2"), Lane.BULK)
        await two.far.until(lambda far: bool(far.links))
        far = two.far.links[0]
        assert (link.peer.path, far.peer.path) == (path_of("pi-2"), path_of("pi-1"))
        assert link.peer.principal == make_node("pi-2").principal
        assert (link.lane, far.lane) == (Lane.BULK, Lane.BULK)
        assert (link.dialled, far.dialled) == (True, False)
        assert far.instance == two.here.instance


@in_loop
async def test_an_address_alone_is_enough_to_dial() -> None:
    async with ends() as two:
        assert (await two.dial()).peer.path == path_of("pi-2")


@in_loop
async def test_a_process_of_another_tree_is_refused_both_ways() -> None:
    async with ends(here=make_side("pi-1", seed=2)) as two:
        with pytest.raises(Fault, match="another tree") as caught:
            await two.dial()
        assert caught.value.kind is Kind.WRONG_TREE
        assert not two.far.links


@in_loop
async def test_who_answers_under_another_path_is_refused_by_name() -> None:
    async with ends() as two:
        with pytest.raises(Fault, match=r"this is /bt1\w+/pi-2, not /bt1\w+/pi-3") as caught:
            await two.dial(path_of("pi-3"))
        assert caught.value.kind is Kind.NOT_FOUND


def refuse(_: Identity) -> None:
    raise Fault(Kind.DENIED, "it was removed from the tree", next_step="bt node invite")


@in_loop
async def test_who_is_not_admitted_hears_why() -> None:
    async with ends(far=make_side("pi-2", admit=refuse)) as two:
        with pytest.raises(Fault, match="removed from the tree") as caught:
            await two.dial()
        assert caught.value.kind is Kind.DENIED
        assert caught.value.next_step == "bt node invite"
        await until(lambda: two.listener.refused == 1)


@in_loop
async def test_who_dials_refuses_a_process_it_does_not_admit() -> None:
    async with ends(here=make_side("pi-1", admit=refuse)) as two:
        with pytest.raises(Fault, match="removed from the tree"):
            await two.dial()
        await two.far.until(lambda far: bool(far.closed))
        assert two.far.closed[0].kind is Kind.DENIED


@in_loop
async def test_a_wrong_clock_is_named_on_both_sides() -> None:
    async with ends(here=make_side("pi-1", now=lambda: 0)) as two:
        with pytest.raises(Fault, match="clock says 1970") as caught:
            await two.dial()
        assert caught.value.kind is Kind.EXPIRED
    async with ends(far=make_side("pi-2", now=lambda: NOW * 2)) as two:
        with pytest.raises(Fault, match="certificate ended") as caught:
            await two.dial()
        assert caught.value.kind is Kind.EXPIRED


@in_loop
async def test_a_closed_port_and_a_bad_address_have_their_sentences() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address, kind, words in (
        (f"127.0.0.1:{port}", Kind.UNREACHABLE, "nothing listens there"),
        ("no-such-host.invalid:1", Kind.UNREACHABLE, "no host of that name"),
        ("127.0.0.1:seven", Kind.USAGE, "not a network address"),
    ):
        with pytest.raises(Fault, match=words) as caught:
            await dial(address, make_side("pi-1"), Ear().open)
        assert caught.value.kind is kind
        assert caught.value.path == address


@in_loop
async def test_a_port_that_speaks_something_else_or_nothing_is_given_up() -> None:
    for first, words in ((b"SSH-2.0-OpenSSH_9.2p1\r\n", "no TLS"), (b"", "no answer in time")):
        left = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(first)  # noqa: B023 - it runs within this turn of the loop
            await reader.read()
            writer.close()
            left.set()  # noqa: B023

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Fault, match=words) as caught:
            await dial(address, make_side("pi-1"), Ear().open, timeout_s=0.3)
        assert caught.value.kind is Kind.UNREACHABLE
        await left.wait()
        server.close()
        await server.wait_closed()


async def read_one(port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=""
    )
    try:
        await reader.readexactly(1)
    finally:
        writer.close()


@in_loop
async def test_old_tls_and_missing_certificates_do_not_come_in() -> None:
    async with ends() as two:
        for change in ("old", "anonymous"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            if change == "old":
                context = client_context(two.here.credential)
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
                await read_one(two.listener.port, context)
        await until(lambda: two.listener.refused == 2)
        assert not two.far.links


class Liar:
    """Goes through the TLS handshake as `pi-1` and then says what it likes."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def say(self, hello: Hello) -> str:
        """Send a hello; the peer's last words."""
        return await self.send(b"".join(map(bytes, encode_frame(encode(hello)))))

    async def send(self, stream: bytes) -> str:
        context = client_context(make_node("pi-1"))
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=context, server_hostname=""
        )
        writer.write(stream)
        said = await reader.read()
        writer.close()
        return said.decode(errors="replace")


@in_loop
async def test_a_hello_that_does_not_fit_the_handshake_is_refused() -> None:
    one, two = make_node("pi-1"), make_node("pi-2")
    stranger = make_node("pi-1", seed=2)
    eight = bytes(8)

    usual = Hello(VERSION, one.tree, "", Lane.CONTROL, eight, one.chain)

    def hello(**changes: Any) -> Hello:
        return dataclasses.replace(usual, **changes)

    async with ends() as pair:
        liar = Liar(pair.listener.port)
        assert "another certificate" in await liar.say(hello(chain=two.chain))
        assert "another certificate" in await liar.say(hello(chain=stranger.chain))
        assert "does not end in a root" in await liar.say(hello(chain=one.chain[:1]))
        assert "belongs to tree" in await liar.say(hello(tree=stranger.tree))
        assert "speaks version 3" in await liar.say(hello(version=3))
        assert "without instance" in await liar.say(hello(instance=b""))
        assert "not /home" in await liar.say(hello(path="/home"))
        assert "not a record" in await liar.send(b"".join(map(bytes, encode_frame(b"\xff"))))
        assert "a frame claims" in await liar.send(b"\xff" * 8)
        assert not pair.far.links


@in_loop
async def test_who_connects_and_says_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "HELLO_TIMEOUT_S", 0.1)
    monkeypatch.setattr(listener, "TLS_TIMEOUT_S", 0.1)
    async with ends() as two:
        said = await Liar(two.listener.port).send(b"")
        assert "no hello within 0.1 seconds" in said
        reader, writer = await asyncio.open_connection("127.0.0.1", two.listener.port)
        assert await reader.read() == b""
        writer.close()
        await until(lambda: two.listener.refused == 2)


@in_loop
async def test_one_host_cannot_take_all_the_places_of_the_unproved() -> None:
    async with ends() as two:
        crowd = [
            await asyncio.open_connection("127.0.0.1", two.listener.port)
            for _ in range(listener.UNPROVEN_PER_HOST)
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", two.listener.port)
        assert await reader.read() == b""
        writer.close()
        for _, waiting in crowd:
            waiting.close()
        await asyncio.sleep(0.05)
        assert (await two.dial()).peer.path == path_of("pi-2")


@in_loop
async def test_a_taken_port_is_named() -> None:
    async with ends() as two:
        with pytest.raises(Fault, match="another program listens there") as caught:
            await listen(make_side("pi-3"), Ear().open, "127.0.0.1", two.listener.port)
        assert caught.value.kind is Kind.EXISTS


@in_loop
async def test_first_frames_that_follow_the_hello_at_once_are_not_lost() -> None:
    async with ends() as two:
        original = two.far.open

        def greet(link: Link) -> None:
            original(link)
            for number in range(10):
                link.send(b"%d" % number)

        two.listener._on_open = greet
        await two.dial()
        await two.ear.until(lambda ear: len(ear.frames) == 10)
        assert [head for head, _ in two.ear.frames] == [b"%d" % n for n in range(10)]


@in_loop
async def test_a_peer_that_does_not_answer_the_hello_is_out_of_reach() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)
        writer.close()

    tls = make_side("pi-2").server
    async with await asyncio.start_server(silent, "127.0.0.1", 0, ssl=tls) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(Fault) as caught:
            await dial(f"{host}:{port}", make_side("pi-1"), Ear().open, timeout_s=0.3)
        assert caught.value.kind is Kind.UNREACHABLE


@in_loop
async def test_a_dial_that_is_given_up_leaves_no_connection() -> None:
    heard, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        heard.set()  # its hello came, and is not answered
        with contextlib.suppress(OSError):
            while await reader.read(1 << 16):
                pass
        left.set()
        writer.close()

    tls = make_side("pi-2").server
    async with await asyncio.start_server(silent, "127.0.0.1", 0, ssl=tls) as server:
        host, port = server.sockets[0].getsockname()
        dialling = asyncio.ensure_future(dial(f"{host}:{port}", make_side("pi-1"), Ear().open))
        await heard.wait()
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        async with asyncio.timeout(2):
            await left.wait()
