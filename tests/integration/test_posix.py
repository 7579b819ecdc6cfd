"""The conformance suite and real programs on a real tree: three nodes, TLS, Raft, two mounts."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance import posix, programs, sharing
from integration.throwaway import Tree, throwaway_tree

_places = itertools.count()
CHECKS = posix.CHECKS | sharing.LOCKS


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    with throwaway_tree(tmp_path_factory.mktemp("tree")) as started:
        yield started


@pytest.fixture
def pair(tree: Tree) -> tuple[Path, Path]:
    """One fresh directory, seen through two mounts."""
    assert all(mount.is_mount() for mount in tree.mounts), "an earlier check ended the mounts"
    name = f"place {next(_places)}"
    (tree.mounts[0] / name).mkdir()
    return tree.mounts[0] / name, tree.mounts[1] / name


@pytest.mark.parametrize("check", CHECKS.values(), ids=list(CHECKS))
def test_posix(check: posix.Check, tree: Tree, pair: tuple[Path, Path]) -> None:
    with tree.deadline():
        check(pair[0])


@pytest.mark.parametrize("check", sharing.SHARED.values(), ids=list(sharing.SHARED))
def test_two_mounts(check: sharing.SharedCheck, tree: Tree, pair: tuple[Path, Path]) -> None:
    with tree.deadline():
        check(*pair)


@pytest.mark.parametrize("check", programs.NEEDS, ids=lambda check: check.__name__)
def test_program(check: Callable[[Path], None], tree: Tree, pair: tuple[Path, Path]) -> None:
    if programs.is_missing(check):
        pytest.skip(f"{programs.NEEDS[check]} is not installed")
    with tree.deadline():
        check(pair[0])


def test_sqlite_on_two_mounts(tree: Tree, pair: tuple[Path, Path]) -> None:
    with tree.deadline():
        programs.sqlite_holds_over_two_mounts(*pair)


def test_no_name_and_no_content_is_on_any_disk_of_a_node(
    tree: Tree, pair: tuple[Path, Path]
) -> None:
    name, content = "mother-of-pearl", b"a sentence that nobody but us may read, "
    (pair[0] / name).write_bytes(content * 5000)
    (pair[0] / "small").write_bytes(content)
    (pair[0] / "pointer").symlink_to("/somewhere/secret-address")
    wanted = [name.encode(), content, b"secret-address"]
    folders = [Path(node["state"]) for node in tree.nodes()]
    kept = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) > len(folders) * len(content) * 5000
    for path in kept:
        held = path.read_bytes()
        assert not [secret for secret in wanted if secret in held], path
