"""The mounts that `bench_mount.py` compares, each started, remounted and taken away by itself.

sshfs: an sshd of its own on loopback with throw-away keys. GlusterFS: replica 3, three bricks and
all state in the work directory, on an address that only this machine has. Blocktree: three nodes of
`bt up --sim 3`. All use the same disk. Debian packages: sshfs openssh-server glusterfs-server.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECONDS = 90
GLUSTER_ADDRESS = "198.51.100.77"  # TEST-NET-2 (RFC 5737), put on the loopback interface meanwhile
SSHD = "/usr/sbin/sshd"
MARK = "BENCH_MOUNT_PEER"


class Unavailable(Exception):  # noqa: N818 - a peer that cannot run here is not an error
    """A peer cannot run here; the text says why and what to install."""


class Peer:
    """A directory on the local disk, and what the other peers share."""

    name = "local"

    def __init__(self, work: Path) -> None:
        self.work = work / self.name
        self.work.mkdir()
        self.point = self.work / "mount"
        self.point.mkdir()
        self.env = os.environ | {MARK: str(self.work), "LC_ALL": "C"}

    def start(self) -> None:
        """Start servers and mount."""

    def stop(self) -> None:
        """Take everything away, whatever state it is in."""

    def unmount(self) -> None:
        """Stop the client only."""

    def mount(self) -> None:
        """Start the client again."""

    def backing(self) -> Path:
        """Where the servers keep what was written."""
        return self.point

    def make_cold(self) -> None:
        """Nothing cached: a new client, and none of the stored bytes in the page cache."""
        self.unmount()
        for path in [p for p in self.backing().rglob("*") if p.is_file() and not p.is_symlink()]:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
        self.mount()

    def roots(self) -> set[int]:
        """Processes that hide the mark they inherited."""
        return set()

    def processes(self) -> set[int]:
        """The peer's processes: those that inherited its mark, and their descendants."""
        wanted = f"{MARK}={self.work}".encode()
        parents: dict[int, int] = {}
        found: set[int] = set()
        for status in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                pid = int(status.name)
                parents[pid] = int((status / "stat").read_text().rpartition(")")[2].split()[1])
                if wanted in (status / "environ").read_bytes().split(b"\0"):
                    found.add(pid)
        found |= self.roots() & set(parents)
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def cpu_seconds(self) -> float:
        """CPU used so far by the processes that live now, and by the children they waited for."""
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / os.sysconf("SC_CLK_TCK")

    def run(self, *command: str | Path, check: bool = True) -> str:
        """Run one command of the peer's to its end."""
        try:
            done = subprocess.run(
                [str(word) for word in command],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=SECONDS,
                check=False,
                cwd="/",
            )
        except subprocess.TimeoutExpired:
            if check:
                raise Unavailable(f"{command[0]} did not end in {SECONDS} s") from None
            return ""
        if check and done.returncode != 0:
            raise Unavailable(f"{command[0]} failed: {done.stdout.strip()[-300:]}")
        return done.stdout

    def is_mounted(self) -> bool:
        return str(self.point) in Path("/proc/self/mountinfo").read_text()

    def force_unmount(self) -> None:
        command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-u", "-z"]
        while self.is_mounted():
            if self.run(*command, self.point, check=False):
                break

    def kill(self) -> None:
        """End what is left of the peer's processes, by their numbers."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            with contextlib.suppress(Unavailable):
                wait_until(lambda: not self.processes(), "its processes end", 5)
                return


class Sshfs(Peer):
    name = "sshfs"

    def start(self) -> None:
        need("sshfs", "sshfs")
        need(SSHD, "openssh-server")
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd separates its privileges
        for key in ("host", "client"):
            self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.work / key)
        self.port = free_port()
        (self.work / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.work}/host\n"
            f"PidFile {self.work}/sshd.pid\nAuthorizedKeysFile {self.work}/client.pub\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            "Subsystem sftp internal-sftp\nLogLevel ERROR\n"
        )
        (self.work / "export").mkdir()
        log = self.work / "sshd.log"
        self.run(SSHD, "-f", self.work / "sshd_config", "-E", log)
        wait_until(lambda: answers("127.0.0.1", self.port), "sshd listens")
        self.mount()

    def mount(self) -> None:
        options = (
            f"port={self.port},IdentityFile={self.work}/client,IdentitiesOnly=yes,"
            "StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,LogLevel=ERROR"
        )
        user = os.environ.get("USER") or self.run("id", "-un").strip()
        self.run("sshfs", "-o", options, f"{user}@127.0.0.1:{self.work}/export", self.point)

    def unmount(self) -> None:
        self.run("fusermount3", "-u", self.point)

    def backing(self) -> Path:
        return self.work / "export"

    def roots(self) -> set[int]:
        """Sshd writes its title over its environment."""
        with contextlib.suppress(OSError, ValueError):
            return {int((self.work / "sshd.pid").read_text())}
        return set()

    def stop(self) -> None:
        self.force_unmount()
        self.kill()


class Gluster(Peer):
    name = "glusterfs"
    VOLUME = "bench"

    def start(self) -> None:
        need("glusterd", "glusterfs-server")
        if os.geteuid() != 0:
            raise Unavailable("GlusterFS runs as root only")
        self.run("ip", "address", "replace", f"{GLUSTER_ADDRESS}/32", "dev", "lo")
        for name in ("run", "state", "bricks/1", "bricks/2", "bricks/3"):
            (self.work / name).mkdir(parents=True)
        self.socket = self.work / "run" / "glusterd.socket"
        options = {
            "working-directory": self.work / "state",
            "run-directory": self.work / "run",
            "glusterd-sockfile": self.socket,
            "transport-type": "socket",
            "transport.socket.listen-port": 24007,  # bricks know no other
            "transport.socket.bind-address": GLUSTER_ADDRESS,
            "ping-timeout": 0,
            "max-port": 60999,
        }
        lines = [f"    option {key} {value}" for key, value in options.items()]
        text = "\n".join(["volume management", "    type mgmt/glusterd", *lines, "end-volume", ""])
        (self.work / "glusterd.vol").write_text(text)
        config, log = self.work / "glusterd.vol", self.work / "glusterd.log"
        self.run("glusterd", "-f", config, "-l", log, "-p", self.work / "glusterd.pid")
        wait_until(self.socket.exists, "glusterd listens")
        wait_until(lambda: "Peers" in self._gluster("peer", "status", check=False), "it answers")
        bricks = [f"{GLUSTER_ADDRESS}:{self.work}/bricks/{number}" for number in (1, 2, 3)]
        self._gluster("volume", "create", self.VOLUME, "replica", "3", *bricks, "force")
        self._gluster("volume", "start", self.VOLUME)
        wait_until(self._bricks_are_up, "three bricks run")
        self.mount()

    def _gluster(self, *words: str, check: bool = True) -> str:
        program = ["gluster", "--mode=script", f"--glusterd-sock={self.socket}"]
        return self.run(*program, f"--log-file={self.work}/cli.log", *words, check=check)

    def _bricks_are_up(self) -> bool:
        status = self._gluster("volume", "status", self.VOLUME, check=False).splitlines()
        lines = [line for line in status if line.rstrip().rpartition(" ")[2].isdigit()]
        return len(lines) >= 3 and all(" Y " in line for line in lines)

    def mount(self) -> None:
        options = [f"--volfile-server={GLUSTER_ADDRESS}", f"--volfile-id={self.VOLUME}"]
        self.run("glusterfs", *options, f"--log-file={self.work}/mount.log", self.point)
        wait_until(lambda: self._replicas() == 3, "the client has three replicas")

    def _replicas(self) -> int:
        """How many bricks the client reached: without all, what it writes is not three copies."""
        log = (self.work / "mount.log").read_text()
        return len(set(re.findall(r"client-(\d): Connected", log)))

    def unmount(self) -> None:
        self.run("umount", self.point)
        (self.work / "mount.log").unlink()

    def backing(self) -> Path:
        return self.work / "bricks"

    def stop(self) -> None:
        self.force_unmount()
        if (self.work / "run").exists():
            self._gluster("volume", "stop", self.VOLUME, "force", check=False)
            self.kill()
            address = f"{GLUSTER_ADDRESS}/32"
            self.run("ip", "address", "delete", address, "dev", "lo", check=False)


class Blocktree(Peer):
    name = "blocktree"
    options: tuple[str, ...] = ()

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.env["BLOCKTREE_STATE"] = str(self.work / "state")
        (self.work / "state").mkdir(mode=0o700)

    def _bt(self, *words: str | Path, check: bool = True) -> str:
        return self.run(sys.executable, "-m", "blocktree.cli", *words, check=check)

    def start(self) -> None:
        self._bt("up", "--sim", "3", "--bare")
        self.mount()

    def mount(self) -> None:
        self._bt("mount", *self.options, "/home", self.point)

    def unmount(self) -> None:
        self._bt("umount", self.point)

    def backing(self) -> Path:
        return self.work / "state"

    def stop(self) -> None:
        self._bt("umount", self.point, check=False)
        self._bt("down", check=False)
        self.force_unmount()
        self.kill()


class FastClose(Blocktree):
    """Closing a new file does not wait for the quorum."""

    name = "fast-close"
    options = ("--fast-close",)


class Driver(Peer):
    """Our FUSE driver over a volume in memory: what the mount itself costs, without the tree."""

    name = "driver"

    def start(self) -> None:
        tests = ROOT / "tests"
        self.env["PYTHONPATH"] = ":".join([str(tests), *filter(None, sys.path)])
        self.server = subprocess.Popen(
            [sys.executable, str(tests / "mount" / "serve.py"), str(self.point)],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        wait_until(self.is_mounted, "it is mounted")

    def stop(self) -> None:
        if hasattr(self, "server"):
            assert self.server.stdin is not None
            self.server.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(timeout=10)
        self.force_unmount()
        self.kill()

    def backing(self) -> Path:
        return self.work / "nowhere"


PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (Peer, Sshfs, Gluster, Blocktree, FastClose, Driver)
}


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise Unavailable(f"{program} is missing: sudo apt install {package}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Unavailable(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.1)


@contextlib.contextmanager
def running(name: str, work: Path) -> Iterator[Peer]:
    """The peer, started; whatever happens it is taken away."""
    peer = PEERS[name](work)
    try:
        peer.start()
        yield peer
    finally:
        peer.stop()
