"""How often a device dials its gateways by TLS, in simulated time."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from bt import tls_link

Gateway = tuple[str, str, int]
PORCH: Gateway = ("/-/porch", "porch", 4781)
HALL: Gateway = ("/-/hall", "hall", 4781)
PACKET = b"\0\5\5\0\0\0\0"


class Writer:
    def write(self, _data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...


class Identity:
    tree, scalar = bytes(32), bytes(32)


class Dialling:
    """A device and its gateways; a gateway ends each connection when it has said all it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, known: Iterable[Gateway]) -> None:
        self.known = list(known)
        self.now = 0.0
        self.dialled: list[tuple[float, str]] = []
        self.says: dict[str, int] = {}  # how many packets; who is not here does not answer
        self._later: list[tuple[float, Callable[[], None]]] = []
        yield_once = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.now += seconds
            for _, act in [each for each in self._later if each[0] <= self.now]:
                act()
            self._later = [each for each in self._later if each[0] > self.now]
            await yield_once(0)

        monkeypatch.setattr(tls_link.asyncio, "sleep", sleep)
        monkeypatch.setattr(tls_link, "read_chain", lambda _: (b"", b""))
        monkeypatch.setattr(tls_link, "connect", self._connect)

    def at(self, when: float, act: Callable[[], None]) -> None:
        self._later.append((when, act))

    def until(self, end: float) -> list[tuple[float, str]]:
        """When it dialled whom."""

        async def scene() -> None:
            link = tls_link.TlsLink(Identity(), lambda: "", lambda: list(self.known))
            link.opened = lambda _stands: None
            over = asyncio.Event()
            self.at(end, over.set)
            running = asyncio.ensure_future(link.run(lambda _packet, _address: None))
            await over.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        asyncio.run(scene())
        return [each for each in self.dialled if each[0] < end]

    async def _connect(self, host: str, *_: Any) -> tuple[asyncio.StreamReader, Writer]:
        self.dialled.append((self.now, host))
        if host not in self.says:
            raise OSError(111)
        reader = asyncio.StreamReader()
        reader.feed_data(PACKET * self.says[host])
        reader.feed_eof()
        return reader, Writer()


@pytest.mark.parametrize("known", [[PORCH], [PORCH, HALL]])
def test_it_waits_longer_each_time_that_nobody_answers(
    monkeypatch: pytest.MonkeyPatch, known: list[Gateway]
) -> None:
    dialled = Dialling(monkeypatch, known).until(200)
    rounds = [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert dialled == [(at, host) for at in rounds for _, host, _ in known]


def test_a_gateway_that_served_it_is_dialled_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Dialling(monkeypatch, [PORCH])
    scene.at(62, lambda: scene.says.update(porch=10))
    scene.at(63.5, scene.says.clear)
    assert [at for at, _ in scene.until(80) if at > 60] == [63, 64, 66, 70, 78]


def test_a_gateway_that_says_goodbye_at_once_is_left_alone_longer_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Dialling(monkeypatch, [PORCH])
    scene.says["porch"] = 1
    assert [at for at, _ in scene.until(60)] == [0, 1, 3, 7, 15, 31]


def test_a_gateway_that_it_is_told_of_is_dialled_whatever_the_others_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Dialling(monkeypatch, [PORCH])
    scene.at(40, lambda: scene.known.insert(0, HALL))
    dialled = [each for each in scene.until(45) if each[0] > 20]
    assert dialled == [(31, "porch"), *[(at, w) for at in (40, 41, 43) for w in ("hall", "porch")]]
