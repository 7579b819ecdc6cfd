"""Copies are exact, and one that is cut short leaves nothing half done and no traceback."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from cli.conftest import Shell

BT = [sys.executable, "-m", "blocktree.cli"]
SIZES = (0, 1, 2048, 2049, 65536, 65537, 1 << 20, 9_000_001)


def grow(folder: Path) -> None:
    """Files of many sizes under awkward names, links, modes and times."""
    dice = random.Random(7)
    (folder / "deep" / "er").mkdir(parents=True)
    for size in SIZES:
        (folder / f"{size}").write_bytes(dice.randbytes(size))
    for name in (b"\xff\xfe", b"new\nline", b" ", b"-r", "ü".encode(), b"n" * 255):
        Path(os.fsdecode(os.fsencode(folder / "deep") + b"/" + name)).write_bytes(name)
    (folder / "deep" / "er" / "link").symlink_to("../../1")
    (folder / "nowhere").symlink_to("/no/such")
    (folder / "1").chmod(0o640)
    os.utime(folder / "2048", ns=(1_000_000_007, 1_000_000_007))
    os.utime(folder / "deep", ns=(2_000_000_007, 2_000_000_007))


def seen(folder: Path) -> dict[str, tuple[int, int, object]]:
    """Mode, time and content of everything below."""
    found: dict[str, tuple[int, int, object]] = {}
    for path in folder.rglob("*"):
        known = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(folder))] = (0, 0, str(path.readlink()))
            continue
        content: object = path.read_bytes() if path.is_file() else "directory"
        found[str(path.relative_to(folder))] = (known.st_mode, known.st_mtime_ns, content)
    return found


def test_every_byte_name_mode_and_time_comes_back(home: Shell) -> None:
    given = home.folder / "given"
    grow(given)
    home.ok("cp", "-rp", "given", "/home/exact")
    home.ok("cp", "-rp", "/home/exact", "/home/exactly")
    home.ok("cp", "-rp", "/home/exactly", "back")
    assert seen(home.folder / "back") == seen(given)


def test_an_existing_local_file_is_replaced_whole_and_keeps_its_mode(home: Shell) -> None:
    home.ok("cp", "-", "/home/whole", given=b"new content")
    target = home.folder / "target"
    target.write_bytes(b"old")
    target.chmod(0o600)
    with target.open("rb") as before:
        home.ok("cp", "/home/whole", "target")
        assert before.read() == b"old"
    assert target.read_bytes() == b"new content"
    assert target.stat().st_mode & 0o777 == 0o600


def test_an_interrupted_copy_leaves_no_half_file_and_says_so(home: Shell) -> None:
    with subprocess.Popen(
        [*BT, "cp", "-", "/home/half"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as copy:
        assert copy.stdin is not None
        assert copy.stderr is not None
        copy.stdin.write(bytes(4 << 20))  # more than a pipe holds: the copy is under way
        copy.stdin.flush()
        copy.send_signal(signal.SIGINT)
        said = copy.stderr.read().decode()
        assert copy.wait(30) == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert "half" not in home.ok("ls", "/home").splitlines()


def test_a_reader_that_has_enough_is_no_failure(home: Shell) -> None:
    home.ok("cp", "-", "/home/long", given=bytes(3 << 20))
    with subprocess.Popen(
        [*BT, "cat", "/home/long"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as cat:
        assert cat.stdout is not None
        assert cat.stderr is not None
        assert cat.stdout.read(10) == bytes(10)
        cat.stdout.close()
        assert cat.stderr.read() == b""
        assert cat.wait(30) == 0
