"""Measure actors: tell and ask within a process and over mutual TLS, beside what others do.

Peers in the same run: `asyncio.Queue` (no actors, no names), Pykka if installed (threads), Erlang
from Debian if installed (`erlang_peer.py`: its distribution over mutual TLS 1.3), and an echo on a
bare asyncio TLS protocol (no frames, no records). The remote side is a second process on this
machine. `--json` prints the table for programs.
"""

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import random
import ssl
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from checked_dispatch import compare
from erlang_peer import measure as measure_erlang

from blocktree.actors import Actor, Address, Call, Lane, Runtime, receives
from blocktree.keys import Credential, MemberKind, new_credential, new_tree
from blocktree.link import Links, Side, listen
from blocktree.link.tls import client_context, server_context
from blocktree.names import Path, join
from blocktree.wire import Body, Record, body_field, record


@record(0x7F51)
@dataclass(frozen=True, slots=True)
class Add(Record):
    amount: int


@record(0x7F52)
@dataclass(frozen=True, slots=True)
class Blob(Record):
    number: int
    body: Body = body_field()


@record(0x7F53)
@dataclass(frozen=True, slots=True)
class Spent(Record):
    cpu_us: int


class Counter(Actor):
    def __init__(self) -> None:
        self.total = 0

    @receives
    def add(self, message: Add, call: Call) -> Add:
        self.total += message.amount
        return Add(self.total)

    @receives
    def echo(self, message: Blob, call: Call) -> Blob:
        return message

    @receives
    def spent(self, message: Spent, call: Call) -> Spent:
        return Spent(time.process_time_ns() // 1000)


@dataclass(frozen=True)
class Row:
    what: str
    who: str
    per_second: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    cpu_us: float | None = None  # of both sides, for one message
    mb_per_second: float | None = None


Ask = Callable[[], Awaitable[object]]


async def latency(what: str, who: str, ask: Ask, count: int) -> Row:
    for _ in range(count // 10):
        await ask()
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - begin)
    cuts = statistics.quantiles(times, n=100)
    return Row(what, who, 1 / statistics.mean(times), cuts[49] * 1e6, cuts[98] * 1e6)


# ---- within this process


async def local(count: int) -> list[Row]:
    runtime = Runtime(Path("/bt1bench/here"))
    to = await runtime.spawn("counter", Counter())
    one = Add(1)
    begin = time.perf_counter()
    for _ in range(count):
        await runtime.tell(to, one)
    await runtime.ask(to, one)
    told = Row("local tell", "blocktree", count / (time.perf_counter() - begin))
    asked = await latency("local ask", "blocktree", lambda: runtime.ask(to, one), count // 10)
    await runtime.close()
    return [told, asked]


async def queues(count: int) -> list[Row]:
    queue: asyncio.Queue[tuple[Add, asyncio.Future[Add] | None]] = asyncio.Queue(1024)
    loop = asyncio.get_running_loop()

    async def work() -> None:
        while True:
            message, answer = await queue.get()
            if answer is not None:
                answer.set_result(message)

    async def ask() -> Add:
        answer: asyncio.Future[Add] = loop.create_future()
        await queue.put((one, answer))
        return await answer

    one = Add(1)
    worker = asyncio.create_task(work())
    begin = time.perf_counter()
    for _ in range(count):
        await queue.put((one, None))
    await ask()
    told = Row("local tell", "asyncio.Queue", count / (time.perf_counter() - begin))
    asked = await latency("local ask", "asyncio.Queue", ask, count // 10)
    worker.cancel()
    return [told, asked]


def pykka(count: int) -> list[Row]:
    if importlib.util.find_spec("pykka") is None:
        return []
    library: Any = importlib.import_module("pykka")

    class Threaded(library.ThreadingActor):  # type: ignore[misc]
        def on_receive(self, message: Add) -> Add:
            return message

    reference = Threaded.start()
    one = Add(1)
    begin = time.perf_counter()
    for _ in range(count):
        reference.tell(one)
    reference.ask(one)
    told = Row("local tell", "Pykka", count / (time.perf_counter() - begin))
    times = []
    for _ in range(count // 10):
        start = time.perf_counter()
        reference.ask(one)
        times.append(time.perf_counter() - start)
    reference.stop()
    cuts = statistics.quantiles(times, n=100)
    asked = Row("local ask", "Pykka", 1 / statistics.mean(times), cuts[49] * 1e6, cuts[98] * 1e6)
    return [told, asked]


def erlang(count: int) -> list[Row]:
    found = measure_erlang(max(1000, count // 20), count // 2)
    if found is None:
        return []
    told = count // 2 * 1e9
    return [
        Row("local tell", "Erlang", told / found["local"]),
        Row("local ask", "Erlang", 1e9 / found["asked"], found["asked"] / 1e3),
        Row("remote ask", "Erlang TLS", None, found["p50"] / 1e3, found["p99"] / 1e3),
        Row("remote tell", "Erlang TLS", told / found["told"]),
    ]


# ---- with a second process


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Asker(asyncio.Protocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert self.answer is not None
        self.answer.set_result(data)

    async def ask(self) -> bytes:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(b"x" * 24)
        return await self.answer


def side(credential: Credential) -> Side:
    return Side(credential, lambda _: None)


async def serve(credential: Credential) -> None:
    """The second process: prints its two ports and works until its input ends."""
    links = Links(side(credential), dice=random.random)
    runtime = Runtime(credential.path, links)
    await runtime.spawn("counter", Counter())
    listener = await listen(links.side, links.adopt, "127.0.0.1")
    loop = asyncio.get_running_loop()
    context: ssl.SSLContext = server_context(credential)
    echo = await loop.create_server(Echo, "127.0.0.1", 0, ssl=context)
    print(listener.port, echo.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    await runtime.close()
    await links.close()
    await listener.close()
    echo.close()


@asynccontextmanager
async def second_process(credential: Credential) -> AsyncIterator[tuple[int, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(credential.save().hex().encode() + b"\n")
        port, echo = map(int, (await process.stdout.readline()).split())
        yield port, echo
    finally:
        process.stdin.close()
        await process.wait()


async def remote(count: int) -> list[Row]:
    now = int(time.time())
    tree = new_tree("bench", "jo", now=now, passphrase="x", draw=os.urandom, cost=4)
    here, there = (
        new_credential(
            tree.owner,
            MemberKind.NODE,
            join(Path(f"/{tree.tree}"), name),
            now=now,
            draw=os.urandom,
        )
        for name in ("here", "there")
    )
    async with second_process(there) as (port, echo):
        links = Links(side(here), sources=[lambda _: [f"127.0.0.1:{port}"]], dice=random.random)
        runtime = Runtime(here.path, links)
        to = Address(there.path, "counter")
        rows = [await bare(echo, here, count // 10)]
        rows.append(
            await latency("remote ask", "blocktree", lambda: runtime.ask(to, Add(1)), count // 10)
        )
        rows.append(await crowd(runtime, to, count // 4))
        rows.append(await told(runtime, to, count))
        rows += [await blobs(runtime, to, size) for size in (64 << 10, 1 << 20)]
        await runtime.close()
        await links.close()
    return rows


async def bare(port: int, credential: Credential, count: int) -> Row:
    loop = asyncio.get_running_loop()
    context = client_context(credential)
    transport, asker = await loop.create_connection(
        Asker, "127.0.0.1", port, ssl=context, server_hostname=""
    )
    row = await latency("remote ask", "asyncio TLS echo", asker.ask, count)
    transport.close()
    return row


async def spent(runtime: Runtime, to: Address) -> int:
    there = await runtime.ask(to, Spent(0), Spent)
    return there.cpu_us + time.process_time_ns() // 1000


async def crowd(runtime: Runtime, to: Address, count: int, at_once: int = 64) -> Row:
    async def ask_many() -> None:
        for _ in range(count // at_once):
            await runtime.ask(to, Add(1))

    before, begin = await spent(runtime, to), time.perf_counter()
    await asyncio.gather(*(ask_many() for _ in range(at_once)))
    seconds, cpu = time.perf_counter() - begin, await spent(runtime, to) - before
    return Row(f"remote ask, {at_once} at once", "blocktree", count / seconds, cpu_us=cpu / count)


async def told(runtime: Runtime, to: Address, count: int) -> Row:
    before, begin = await spent(runtime, to), time.perf_counter()
    for _ in range(count):
        await runtime.tell(to, Add(1))
    await runtime.ask(to, Add(0), timeout=60)
    seconds, cpu = time.perf_counter() - begin, await spent(runtime, to) - before
    return Row("remote tell", "blocktree", count / seconds, cpu_us=cpu / count)


async def blobs(runtime: Runtime, to: Address, size: int, at_once: int = 8) -> Row:
    """Every byte goes there and comes back."""
    count = (128 << 20) // size
    message = Blob(1, os.urandom(size))

    async def ask_many() -> None:
        for _ in range(count // at_once):
            await runtime.ask(to, message, lane=Lane.BULK)

    before, begin = await spent(runtime, to), time.perf_counter()
    await asyncio.gather(*(ask_many() for _ in range(at_once)))
    seconds, cpu = time.perf_counter() - begin, await spent(runtime, to) - before
    return Row(
        f"remote echo of {size >> 10} KiB, {at_once} at once",
        "blocktree",
        count / seconds,
        cpu_us=cpu / count,
        mb_per_second=2 * count * size / seconds / 1e6,
    )


def show(rows: list[Row]) -> None:
    print(f"{'':38}{'':18}{'per second':>12}{'p50 µs':>9}{'p99 µs':>9}{'CPU µs':>9}{'MB/s':>8}")
    for row in rows:
        cells = (row.per_second, row.p50_us, row.p99_us, row.cpu_us, row.mb_per_second)
        shown = (
            "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
            for value in cells
        )
        widths = (12, 9, 9, 9, 8)
        line = "".join(f"{text:>{width}}" for text, width in zip(shown, widths, strict=True))
        print(f"{row.what:38}{row.who:18}{line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=200_000, help="messages told")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        saved = bytes.fromhex(sys.stdin.buffer.readline().decode())
        asyncio.run(serve(Credential.load(saved)))
        return
    rows = asyncio.run(local(given.count)) + asyncio.run(queues(given.count))
    rows += [
        Row(what, who, cpu_us=cpu)
        for what, who, cpu in asyncio.run(compare(max(20, given.count // 500)))
    ]
    rows += pykka(given.count // 4) + erlang(given.count) + asyncio.run(remote(given.count))
    if given.json:
        print(json.dumps({"schema": 1, "rows": [row.__dict__ for row in rows]}, indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
