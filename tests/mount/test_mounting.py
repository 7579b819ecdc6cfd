"""Mounting and unmounting through the real kernel, as root and as an ordinary user."""

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree.mount import channel
from blocktree.mount.channel import connect, device_number, disconnect, mounted_type
from blocktree.mount.view import Options
from mount.served import SEARCHED, Server, serving, take_away

NOBODY = 65534
IS_ROOT = os.geteuid() == 0


def _fault(point: Path) -> Fault:
    with pytest.raises(Fault) as caught:
        os.close(connect(point, Options()))
    return caught.value


def test_each_wrong_mount_point_has_its_fault(tmp_path: Path) -> None:
    fault = _fault(tmp_path / "absent")
    assert fault.kind is Kind.NOT_FOUND
    assert "mkdir" in fault.next_step
    (tmp_path / "file").touch()
    assert _fault(tmp_path / "file").kind is Kind.NOT_DIRECTORY
    assert _fault(tmp_path).kind is Kind.NOT_EMPTY
    assert _fault(tmp_path / "file" / "below").path.endswith("below")


def test_without_fuse_the_fault_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "DEVICE", str(tmp_path / "fuse"))
    fault = _fault(tmp_path)
    assert fault.kind is Kind.MISSING
    assert fault.next_step == "sudo modprobe fuse"


def test_without_fusermount_an_ordinary_user_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setenv("PATH", str(tmp_path))
    fault = _fault(tmp_path)
    assert fault.kind is Kind.MISSING
    assert fault.next_step == "sudo apt install fuse3"


def test_a_mount_point_in_use_is_refused_and_unmounting_twice_too() -> None:
    with serving(1) as server:
        point = server.points[0]
        assert mounted_type(point) == "fuse.blocktree"
        assert _fault(point).kind is Kind.IN_USE
        with (point / "open").open("w"), pytest.raises(Fault) as busy:
            disconnect(point)
        assert busy.value.kind is Kind.IN_USE
        disconnect(point)
        assert server.process.wait(timeout=15) == 0
        with pytest.raises(Fault) as absent:
            disconnect(point)
        assert absent.value.kind is Kind.NOT_FOUND


def test_a_lazy_unmount_ends_what_is_open() -> None:
    with serving(1) as server:
        with (server.points[0] / "open").open("w") as f:
            disconnect(server.points[0], lazy=True)
            assert list(server.points[0].iterdir()) == []
            f.write("still served")
        assert server.process.wait(timeout=15) == 0


def test_a_server_that_is_told_to_stop_ends_what_is_open() -> None:
    with serving(1) as server:
        (server.points[0] / "f").write_bytes(b"x")
        descriptor = os.open(server.points[0] / "f", os.O_RDONLY)
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.process.wait(timeout=15) == 0
        for act in (lambda: os.read(descriptor, 1), lambda: os.close(descriptor)):
            with pytest.raises(OSError, match="not connected"):
                act()
        assert list(server.points[0].iterdir()) == []


def test_a_dead_mount_is_cleared_away_by_the_next_one(tmp_path: Path) -> None:
    with serving(1) as server:
        point = server.points[0]
        server.process.kill()
        server.process.wait(timeout=15)
        with pytest.raises(OSError, match="not connected"):
            (point / "f").touch()
        device = connect(point, Options())
        try:
            assert mounted_type(point) == "fuse.blocktree"
        finally:
            os.close(device)
            take_away(point)


def test_the_kernel_reads_ahead_as_far_as_asked() -> None:
    if not IS_ROOT:
        pytest.skip("only root may raise it")
    with serving(1) as server:
        number = device_number(server.points[0])
        assert Path(f"/sys/class/bdi/{number}/read_ahead_kb").read_text() == "1024\n"


def _python_for_nobody() -> str | None:
    """An interpreter that another user can run, with what the server imports."""
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/bin")):
        command = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", python or "false"]
        done = subprocess.run(
            [*command, "-c", "import blocktree.mount"],
            env={"PYTHONPATH": SEARCHED},
            check=False,
            capture_output=True,
        )
        if python and done.returncode == 0:
            return python
    return None


def test_an_ordinary_user_mounts_through_fusermount() -> None:
    python = _python_for_nobody()
    if not IS_ROOT or shutil.which("fusermount3") is None or python is None:
        pytest.skip("needs root to become another user, fusermount3, and a shared Python")
    if not Path("/dev/fuse").stat().st_mode & stat.S_IWOTH:
        pytest.skip("ordinary users may not open /dev/fuse here")
    as_nobody = ("setpriv", f"--reuid={NOBODY}", "--clear-groups")
    with serving(1, *as_nobody, python=python) as server, server.deadline(60):
        point = str(server.points[0])
        script = 'cd "$1" && echo hello > f && cat f && ls -l && mkdir d && mv f d && cat d/f'
        command = [*as_nobody, "sh", "-c", script, "sh", point]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("hello") == 2
        with pytest.raises(PermissionError):
            list(server.points[0].iterdir())  # even root stays out of an ordinary user's mount
        subprocess.run([*as_nobody, "fusermount3", "-u", point], check=True, timeout=30)
        assert server.process.wait(timeout=15) == 0


def test_setid_bits_are_dropped_when_others_write() -> None:
    if not IS_ROOT:
        pytest.skip("needs root to become another user")
    with serving(1) as server, server.deadline(60):
        path = server.points[0] / "f"
        path.write_bytes(b"x")
        path.chmod(0o6777)
        path.write_bytes(b"by root")
        assert path.stat().st_mode & 0o7777 == 0o6777
        command = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "sh", "-c", 'echo y >> "$1"']
        subprocess.run([*command, "sh", str(path)], check=True, timeout=30)
        assert path.stat().st_mode & 0o7777 == 0o777
        path.chmod(0o6777)
        command[-1] = 'truncate -s 1 "$1"'
        subprocess.run([*command, "sh", str(path)], check=True, timeout=30)
        assert path.stat().st_mode & 0o7777 == 0o777


def _requests(server: Server) -> float:
    assert server.process.stdin is not None
    assert server.process.stdout is not None
    server.process.stdin.write("cpu\n")
    server.process.stdin.flush()
    return float(server.process.stdout.readline())


def test_pages_stay_cached_from_one_open_to_the_next() -> None:
    """Reading again costs the server nothing, until another mount changes the file."""
    with serving(2) as server, server.deadline(60):
        here, there = server.points
        content = os.urandom(64 << 20)
        (here / "f").write_bytes(content)
        assert (here / "f").read_bytes() == content
        before = _requests(server)
        started = time.monotonic()
        for _ in range(5):
            assert (here / "f").read_bytes() == content
        assert time.monotonic() - started < 30
        assert _requests(server) - before < 0.05
        (there / "f").write_bytes(content[::-1])
        assert (here / "f").read_bytes() == content[::-1]
