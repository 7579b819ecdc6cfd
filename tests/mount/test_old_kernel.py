"""Two mounts under a protocol without epochs, as Linux before 6.16 speaks it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import sharing
from mount.served import Server, serving

_places = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(2, minor=31) as served:
        yield served


@pytest.mark.parametrize("check", sharing.SHARED.values(), ids=list(sharing.SHARED))
def test_two_mounts(check: sharing.SharedCheck, server: Server) -> None:
    name = f"place {next(_places)}"
    (server.points[0] / name).mkdir()
    with server.deadline():
        check(*(Path(point) / name for point in server.points))
