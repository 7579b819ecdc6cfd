"""What `bench_commit` measures beside us: three etcd members as Debian packages them.

Its gRPC is spoken by hand over one asyncio protocol, so that the client is never what is measured.
"""

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path as File

NODES = 3
READY_SECONDS = 60.0
Operation = Callable[[int], Awaitable[object]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop_all(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_FRAME = struct.Struct("!BHBBI")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_WINDOW_BYTES = (1 << 31) - 1
_CHUNK = 16384


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _FRAME.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field, literal and not indexed (RFC 7541 section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


class EtcdConnection(asyncio.Protocol):
    """As much of gRPC over HTTP/2 as `etcdserverpb.KV/Put` needs, and nothing slow."""

    def __init__(self, authority: str) -> None:
        self._headers = b"".join(
            _literal(name, value)
            for name, value in (
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", b"/etcdserverpb.KV/Put"),
                (b":authority", authority.encode()),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
            )
        )
        self._buffer = bytearray()
        self._next = 1
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._answered: set[int] = set()
        self._window = 65535
        self._first_window = 65535
        self._windows: dict[int, int] = {}
        self._unsent: dict[int, memoryview] = {}
        self._received = 0
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        settings = struct.pack("!HI", 4, _WINDOW_BYTES)
        growth = struct.pack("!I", _WINDOW_BYTES - 65535)
        transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, growth)
        )

    def put(self, request: bytes) -> "asyncio.Future[None]":
        stream, self._next = self._next, self._next + 2
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting[stream] = future
        self._windows[stream] = self._first_window
        self._transport.write(_frame(_HEADERS, _END_HEADERS, stream, self._headers))
        self._unsent[stream] = memoryview(b"\0" + struct.pack("!I", len(request)) + request)
        self._flush(stream)
        return future

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at, size = 0, len(self._buffer)
        while size - at >= 9:
            high, low, kind, flags, stream = _FRAME.unpack_from(self._buffer, at)
            length = high << 16 | low
            if size - at < 9 + length:
                break
            self._take(kind, flags, stream, bytes(self._buffer[at + 9 : at + 9 + length]))
            at += 9 + length
        del self._buffer[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._answered.add(stream)
        elif kind == _SETTINGS and not flags & _ACK:
            self._settle(payload)
            self._transport.write(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW:
            self._widen(stream, struct.unpack("!I", payload)[0])
        elif kind in (_RESET, _GOAWAY):
            raise SystemExit(f"etcd ended a stream: frame {kind}, {payload.hex()}")
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            self._windows.pop(stream, None)
            future = self._waiting.pop(stream)
            if future.done():
                return
            if stream not in self._answered:
                future.set_exception(RuntimeError("etcd refused a put"))
            else:
                self._answered.discard(stream)
                future.set_result(None)

    def _settle(self, payload: bytes) -> None:
        for name, value in struct.iter_unpack("!HI", payload):
            if name == 4:
                growth, self._first_window = value - self._first_window, value
                for stream in self._windows:
                    self._windows[stream] += growth
        self._flush_all()

    def _widen(self, stream: int, growth: int) -> None:
        if stream == 0:
            self._window += growth
        elif stream in self._windows:
            self._windows[stream] += growth
        self._flush_all()

    def _flush_all(self) -> None:
        for stream in list(self._unsent):
            self._flush(stream)

    def _flush(self, stream: int) -> None:
        left = self._unsent[stream]
        while len(left):
            size = min(len(left), self._window, self._windows[stream], _CHUNK)
            if size <= 0:
                self._unsent[stream] = left
                return
            self._window -= size
            self._windows[stream] -= size
            flags = _END_STREAM if size == len(left) else 0
            self._transport.write(_frame(_DATA, flags, stream, bytes(left[:size])))
            left = left[size:]
        self._unsent.pop(stream, None)

    def close(self) -> None:
        self._transport.close()


class Etcd:
    """Three members with what Debian packages."""

    def __init__(self, root: File) -> None:
        self.root = root
        self.servers: list[subprocess.Popen[bytes]] = []
        self.ports = [(free_port(), free_port()) for _ in range(NODES)]

    async def start(self) -> None:
        for number in range(NODES):
            self.servers.append(self._start_member(number))
        leader = await self._leader()
        self.connections = []
        for _ in range(4):
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda: EtcdConnection(f"127.0.0.1:{leader}"), "127.0.0.1", leader
            )
            self.connections.append(protocol)

    def _start_member(self, number: int) -> subprocess.Popen[bytes]:
        cluster = ",".join(f"m{i}=http://127.0.0.1:{p}" for i, (_, p) in enumerate(self.ports))
        client, peer = (f"http://127.0.0.1:{port}" for port in self.ports[number])
        command = ["etcd", "--name", f"m{number}", "--data-dir", str(self.root / f"etcd-{number}")]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", cluster, "--quota-backend-bytes", str(8 << 30)]
        with (self.root / f"etcd-{number}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    async def _leader(self) -> int:
        endpoints = ",".join(f"127.0.0.1:{client}" for client, _ in self.ports)
        command = ["etcdctl", "--endpoints", endpoints, "endpoint", "status", "-w", "json"]
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            environment = {**os.environ, "ETCDCTL_API": "3"}
            done = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            text, _ = await done.communicate()
            states = json.loads(text) if done.returncode == 0 and text else []
            for state in states:
                if state["Status"]["leader"] == state["Status"]["header"]["member_id"]:
                    return int(state["Endpoint"].rpartition(":")[2])
            await asyncio.sleep(0.2)
        raise SystemExit("etcd did not come up")

    async def stop(self) -> None:
        for connection in self.connections:
            connection.close()
        stop_all(self.servers)

    async def prepare(self, size: int, count: int) -> Operation:
        value = b"\x12" + _varint(size) + os.urandom(size)
        prefix = os.urandom(4).hex()

        def request(number: int) -> bytes:
            key = f"{prefix}{number:012d}".encode()
            return b"\x0a" + bytes([len(key)]) + key + value

        def operation(number: int) -> Awaitable[object]:
            return self.connections[number % len(self.connections)].put(request(number))

        del count
        return operation
