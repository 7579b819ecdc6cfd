"""The machines of a torture run: a host with a node each, one for clients, and what befalls them.

Every host is a network namespace on one bridge. What is started here is ended by `close`, by
process id; mounts and namespaces go, too.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocktree.cli.init import make_tree
from blocktree.cli.node import issue_ticket
from blocktree.cli.places import Places
from blocktree.keys import NewTree
from blocktree.names import join, parse_path
from blocktree.store.folder import NodeFolder, Settings
from lan import Lan
from torture import worker

NODES = ("n1", "n2", "n3", "n4")
DESK = "desk"
PORT = 7400
SMALL_DISK = "n2"
_SMALL_BYTES = 1536 << 20
_PASSPHRASE = "correct horse battery"
_FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
REMOVED = "was removed from the tree"
_BLOCK = 4096  # what a file system writes at once


@dataclass(slots=True)
class Machine:
    """One host that keeps the tree, or could."""

    name: str
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    stopped: bool = False  # by SIGSTOP
    gone: bool = False  # removed from the tree
    log_from: int = 0  # where the log of the present process begins

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.name}.log"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True)
class Hand:
    """A client process."""

    settings: worker.Settings
    process: "subprocess.Popen[bytes]"


class House:
    """Everything of one run lies below `folder`."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder = folder
        self.dice = dice
        self.lan = Lan([*NODES, DESK])
        self.places = Places(folder / "desk")
        self.machines = {name: Machine(name, folder / "nodes" / name) for name in NODES}
        self.hands: list[Hand] = []
        self.tree: NewTree = make_tree(self.places, "home", "ada", _PASSPHRASE)
        self.began = time.monotonic()
        self.died: list[str] = []  # processes that ended although nobody ended them
        self.rotten: set[str] = set()  # nodes whose disks were spoiled
        self._workers = 0
        (folder / "nodes").mkdir()
        (folder / "journals").mkdir()
        (folder / "passphrase").write_text(_PASSPHRASE)
        self._mounted = self._small_disk()

    def note(self, what: str) -> None:
        """Write down what was done to whom, for whoever reads the logs."""
        with (self.folder / "troubles.log").open("a") as file:
            file.write(f"{time.strftime('%T')} {what}\n")

    # nodes

    def addresses(self) -> tuple[str, ...]:
        return tuple(f"{self.lan.hosts[name]}:{PORT}" for name in NODES)

    def join(self, name: str) -> None:
        """A new node on that host; the first of all founds the tree."""
        place = self.places.tree_place("home")
        path = join(parse_path(f"/{self.tree.tree}"), name)
        ticket = issue_ticket(place, self.tree.owner, path, addresses=self.addresses())
        folder = self.machines[name].folder
        if folder.is_mount():
            for child in folder.iterdir():
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)
        settings = Settings(self.lan.hosts[name], PORT, self.addresses(), discover=False)
        NodeFolder(folder).invite(ticket, settings)
        self.machines[name].gone = False
        self.start(name)

    def start(self, name: str, clock: str = "") -> None:
        """Start the node of that host, with its wall clock set off by `clock`."""
        machine = self.machines[name]
        assert not machine.runs, name
        environment = dict(os.environ)
        if clock:
            assert _FAKETIME is not None, "install faketime"
            environment |= {
                "LD_PRELOAD": str(_FAKETIME),
                "FAKETIME": clock,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }
        with machine.log.open("ab") as log:
            machine.log_from = log.tell()
            machine.process = subprocess.Popen(
                self.lan.command(
                    name, [sys.executable, "-m", "blocktree.node", str(machine.folder)]
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def end(self, name: str, number: int = signal.SIGKILL) -> None:
        """End the node's process."""
        machine = self.machines[name]
        process, machine.process = machine.process, None
        if process is None:
            return
        if machine.stopped and number != signal.SIGKILL:
            os.kill(process.pid, signal.SIGCONT)
        machine.stopped = False
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            self.died.append(f"{name} did not stop within 20 s of signal {number}")
            process.kill()
            process.wait()

    def pause(self, name: str) -> None:
        machine = self.machines[name]
        if machine.runs and machine.process is not None:
            os.kill(machine.process.pid, signal.SIGSTOP)
            machine.stopped = True

    def go_on(self, name: str) -> None:
        machine = self.machines[name]
        if machine.stopped and machine.process is not None:
            os.kill(machine.process.pid, signal.SIGCONT)
        machine.stopped = False

    def said(self, name: str) -> str:
        """The log of the present or last process of that host."""
        machine = self.machines[name]
        with machine.log.open("rb") as log:
            log.seek(machine.log_from)
            return log.read().decode(errors="replace")

    def revive(self, name: str) -> None:
        """Have the node run again, whatever happened: as it was, or anew if it was removed."""
        machine = self.machines[name]
        if machine.gone:
            self.end(name)
            return self.join(name)
        if machine.runs:
            return self.go_on(name)
        if machine.process is not None:  # it ended by itself
            machine.process = None
            if REMOVED not in self.said(name):
                last = self.said(name).strip().splitlines()[-1:]
                self.died.append(f"{name} ended by itself: {' '.join(last)}")
        if not machine.log.exists() or REMOVED in self.said(name):
            return self.join(name)
        return self.start(name)

    def names(self) -> list[str]:
        """The hosts whose node takes part now, alive or not."""
        return [name for name, each in self.machines.items() if each.log.exists()]

    # questions, as a person would ask them

    def bt(self, *arguments: str, seconds: float = 30) -> "subprocess.CompletedProcess[str]":
        """Run `bt` on the clients' host."""
        env = {"BLOCKTREE_STATE": str(self.places.root)}
        argv = [sys.executable, "-m", "blocktree.cli", *arguments]
        try:
            return self.lan.run(DESK, argv, env=env, timeout=seconds)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 1, "", "no answer in time")

    def statuses(self) -> list[dict[str, Any]]:
        """What every node says of itself; nothing while nobody answers."""
        addresses = [f"--addr={address}" for address in self.addresses()]
        done = self.bt("node", "ls", "--json", *addresses)
        if done.returncode != 0:
            return []
        listed: list[dict[str, Any]] = json.loads(done.stdout)["nodes"]
        return listed

    def leader(self) -> str:
        """The host of the newest leader, from the nodes' logs; "" if none is known."""
        found: tuple[int, str] = (-1, "")
        for name, machine in self.machines.items():
            if not machine.runs:
                continue
            for line in reversed(self.said(name).splitlines()):
                if "blocktree.store.replica: term " in line:
                    term = int(line.partition(": term ")[2].partition(":")[0])
                    if ": leader," in line:
                        found = max(found, (term, name))
                    break
        return found[1]

    # clients

    def hire(self, role: str) -> Hand:
        """Start a client process."""
        self._workers += 1
        settings = worker.Settings(
            role=role,
            number=self._workers,
            seed=self.dice.randrange(1 << 30),
            user=str(self.places.tree_place("home").folder / "user"),
            seeds=self.addresses(),
            journal=str(self.folder / "journals" / f"{self._workers:03}-{role}"),
            began=self.began,
        )
        with Path(settings.journal + ".log").open("ab") as log:
            process = subprocess.Popen(
                self.lan.command(DESK, [sys.executable, "-m", "torture.worker", settings.text()]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        hand = Hand(settings, process)
        self.hands.append(hand)
        return hand

    def dismiss(self) -> None:
        """Have every client finish what it does and leave."""
        for hand in self.hands:
            assert hand.process.stdin is not None
            with contextlib.suppress(OSError):
                hand.process.stdin.close()
        for hand in self.hands:
            try:
                code = hand.process.wait(60)
            except subprocess.TimeoutExpired:
                self.died.append(f"{hand.settings.journal} did not finish")
                hand.process.send_signal(signal.SIGUSR1)
                time.sleep(1)  # its log says what it waits for
                hand.process.kill()
                hand.process.wait()
                continue
            if code not in (0, -signal.SIGKILL):
                self.died.append(f"{hand.settings.journal} left with {code}")

    def audit(self) -> tuple[dict[str, bytes], int]:
        """Every file as a client reads it that has seen nothing yet, and when it began to read."""
        at = time.monotonic_ns()
        folder = self.folder / "journals" / f"{self._workers + 1:03}-auditor.found"
        folder.mkdir()
        hand = self.hire("auditor")
        self.hands.remove(hand)
        assert hand.process.stdin is not None
        hand.process.stdin.close()
        try:
            code = hand.process.wait(180)
        except subprocess.TimeoutExpired:
            hand.process.kill()
            code = hand.process.wait()
        said = Path(hand.settings.journal + ".log").read_text()
        assert code == 0, f"reading everything failed with {code}: {said[-500:]}"
        return {path.name: path.read_bytes() for path in folder.iterdir()}, at

    def journals(self) -> list[Path]:
        return [Path(hand.settings.journal) for hand in self.hands]

    # the network and the small disk

    def rules(self, name: str, *rules: str) -> None:
        """The packet rules of a host; none lets everything pass."""
        text = "table inet t\ndelete table inet t\n"
        if rules:
            inward = "".join(f"  {rule}\n" for rule in rules if rule.startswith("ip saddr"))
            outward = "".join(f"  {rule}\n" for rule in rules if rule.startswith("ip daddr"))
            text += (
                "table inet t {\n"
                f" chain i {{ type filter hook input priority 0;\n{inward} }}\n"
                f" chain o {{ type filter hook output priority 0;\n{outward} }}\n}}\n"
            )
        done = subprocess.run(
            self.lan.command(name, ["nft", "-f", "-"]), input=text, text=True, check=False,
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def fill(self, free: int) -> None:
        """Leave only so many bytes on the small disk; 0 gives it all back."""
        ballast = self.machines[SMALL_DISK].folder / "ballast"
        ballast.unlink(missing_ok=True)
        if free:
            room = shutil.disk_usage(ballast.parent).free - free
            with contextlib.suppress(OSError), ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(room, 1))

    def answers(self) -> bool:
        """Whether every node that runs has started up."""
        for machine in self.machines.values():
            if not machine.runs or machine.process is None:
                continue
            try:
                ready = json.loads((machine.folder / "ready.json").read_text())
            except (OSError, ValueError):
                return False
            if ready["pid"] != machine.process.pid:
                return False
        return True

    def is_sound(self) -> bool:
        """Whether every node that takes part is there, votes, and has nothing to repair."""
        found = self.statuses()
        return len(found) == len(self.names()) and all(
            each["role"] in {"leader", "follower"} and not each["faults"] for each in found
        )

    def rot(self, name: str) -> None:
        """Spoil a few bytes of a stopped node's segments, or write one block over another."""
        segments = sorted((self.machines[name].folder / "log").glob("segment-*"))
        if not segments:
            return
        path = self.dice.choices(segments, [each.stat().st_size for each in segments])[0]
        size = len(path.read_bytes().rstrip(b"\0"))  # zeros behind the end are nobody's
        self.rotten.add(name)
        self.note(f"{name}: {path.name} rots")
        with path.open("r+b") as file:
            if self.dice.random() < 0.3 and size > 2 * _BLOCK:
                file.seek(self.dice.randrange(size // _BLOCK) * _BLOCK)
                content = file.read(_BLOCK)
                file.seek(self.dice.randrange(size // _BLOCK) * _BLOCK)
                file.write(content)
                return
            for _ in range(self.dice.choice((1, 1, 8))):
                at = self.dice.randrange(size)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << self.dice.randrange(8)]))

    def _small_disk(self) -> bool:
        folder = self.machines[SMALL_DISK].folder
        folder.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={_SMALL_BYTES}", "tmpfs", str(folder)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def close(self) -> None:
        """End and remove everything."""
        for name in NODES:
            self.end(name)
        for hand in self.hands:
            if hand.process.poll() is None:
                hand.process.kill()
            hand.process.wait()
            assert hand.process.stdin is not None
            with contextlib.suppress(OSError):
                hand.process.stdin.close()
        if self._mounted:
            folder = self.machines[SMALL_DISK].folder
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
        self.lan.close()
