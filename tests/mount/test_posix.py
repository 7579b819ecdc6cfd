"""The conformance suite and real programs on a mounted volume, through the real kernel."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance import models, posix, programs, sharing
from mount.served import Server, serving

_places = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(2) as served:
        yield served


@pytest.fixture
def pair(server: Server) -> tuple[Path, Path]:
    """One fresh directory, seen through two mounts."""
    if server.process.poll() is not None:
        pytest.fail("the server of the mount is gone")
    name = f"place {next(_places)}"
    (server.points[0] / name).mkdir()
    return server.points[0] / name, server.points[1] / name


CHECKS = posix.CHECKS | sharing.LOCKS | models.CHECKS
SHARED = sharing.SHARED | models.SHARED


@pytest.mark.parametrize("check", CHECKS.values(), ids=list(CHECKS))
def test_posix(check: posix.Check, server: Server, pair: tuple[Path, Path]) -> None:
    with server.deadline():
        check(pair[0])


@pytest.mark.parametrize("check", SHARED.values(), ids=list(SHARED))
def test_two_mounts(check: sharing.SharedCheck, server: Server, pair: tuple[Path, Path]) -> None:
    with server.deadline():
        check(*pair)


@pytest.mark.parametrize("check", programs.NEEDS, ids=lambda check: check.__name__)
def test_program(check: Callable[[Path], None], server: Server, pair: tuple[Path, Path]) -> None:
    if programs.is_missing(check):
        pytest.skip(f"{programs.NEEDS[check]} is not installed")
    with server.deadline():
        check(pair[0])


def test_sqlite_on_two_mounts(server: Server, pair: tuple[Path, Path]) -> None:
    with server.deadline():
        programs.sqlite_holds_over_two_mounts(*pair)
