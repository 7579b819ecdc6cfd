"""What consensus costs: three cores in one process, instant disks, with or without wire format.

`tools/bench_raft.py [--json]` prints CPU microseconds an entry, all three cores together, and the
cost of a linearizable read and of an idle tick. No disk, link or state machine is counted.
"""

import argparse
import json
import random
import time
from collections import deque

from blocktree.raft import (
    NOBODY,
    Entry,
    HardState,
    Membership,
    Message,
    NodeId,
    Raft,
    Role,
    Saved,
    SnapshotMark,
)
from blocktree.raft.ready import Config
from blocktree.wire import decode, encode

NAMES = [NodeId(letter * 64) for letter in "abc"]


class Memory:
    """A log that is durable at once."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.first_index = 1

    @property
    def last_index(self) -> int:
        return len(self.log)

    def term(self, index: int) -> int:
        return self.log[index - 1].term if index else 0

    def entries(self, low: int, high: int, _bytes_max: int) -> list[Entry]:
        return self.log[low - 1 : high - 1]


class Trio:
    """Three cores and the messages between them."""

    def __init__(self, *, codec: bool) -> None:
        mark = SnapshotMark(0, 0, Membership(tuple(NAMES)))
        self.codec = codec
        self.applied = self.read = 0
        self.mail: deque[tuple[NodeId, NodeId, Message | bytes]] = deque()
        self.logs = {name: Memory() for name in NAMES}
        self.cores = {
            name: Raft(
                name,
                Saved(HardState(0, NOBODY), mark),
                self.logs[name],
                Config(),
                random.Random(name),
            )
            for name in NAMES
        }
        while all(core.role is not Role.LEADER for core in self.cores.values()):
            self.tick()
        self.leader = next(core for core in self.cores.values() if core.role is Role.LEADER)

    def tick(self) -> None:
        for name in NAMES:
            self.cores[name].tick()
            self.pump(name)
        self.deliver()

    def pump(self, name: NodeId) -> None:
        core, log = self.cores[name], self.logs[name].log
        while (ready := core.ready()) is not None:
            encoded: dict[int, bytes] = {}
            for to, message in ready.send:
                if self.codec:
                    if id(message) not in encoded:
                        encoded[id(message)] = encode(message)
                    self.mail.append((name, to, encoded[id(message)]))
                else:
                    self.mail.append((name, to, message))
            if ready.entries:
                log[ready.entries[0].index - 1 :] = ready.entries
            if ready.must_save:
                core.saved(ready.number)
            if ready.apply:
                self.applied += len(ready.apply)
                core.applied(ready.apply[-1].index)
            self.read += len(ready.reads)

    def deliver(self) -> None:
        while self.mail:
            sender, to, message = self.mail.popleft()
            core = self.cores[to]
            core.receive(sender, decode(message, object) if isinstance(message, bytes) else message)  # type: ignore[arg-type]
            self.pump(to)

    def work(self, count: int, batch: int, payload: bytes) -> None:
        name = next(name for name in NAMES if self.cores[name] is self.leader)
        for turn in range(count // batch):
            for _ in range(batch):
                self.leader.propose(payload)
            self.pump(name)
            self.deliver()
            if turn % 50 == 49:
                self.tick()

    def reads(self, count: int, batch: int) -> None:
        name = next(name for name in NAMES if self.cores[name] is self.leader)
        for _ in range(count // batch):
            for request in range(batch):
                self.leader.read(request)
            self.pump(name)
            self.deliver()


def cost(work: object, count: int) -> float:
    """CPU microseconds for each of `count`, the best of three."""
    assert callable(work)
    best = 1e9
    for _ in range(3):
        start = time.process_time()
        work()
        best = min(best, (time.process_time() - start) / count * 1e6)
    return round(best, 2)


def measure() -> dict[str, float]:
    """All rows."""
    rows: dict[str, float] = {}
    for codec in (False, True):
        for size, batch, count in (
            (64, 1, 3000),
            (64, 64, 25600),
            (4096, 16, 6400),
            (65536, 16, 960),
        ):
            trio = Trio(codec=codec)
            payload = bytes(size)

            def work(
                trio: Trio = trio, count: int = count, batch: int = batch, payload: bytes = payload
            ) -> None:
                trio.work(count, batch, payload)

            label = f"entry of {size} B, batch {batch}" + (", wire format" if codec else "")
            rows[label] = cost(work, count)
    trio = Trio(codec=True)
    rows["linearizable read, batch 1, wire format"] = cost(lambda: trio.reads(2000, 1), 2000)
    rows["linearizable read, batch 64, wire format"] = cost(lambda: trio.reads(25600, 64), 25600)
    rows["idle tick of one core"] = cost(lambda: [trio.tick() for _ in range(2000)], 6000)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    rows = measure()
    if parser.parse_args().json:
        print(json.dumps({"schema": 1, "cpu_microseconds": rows}))
        return
    for label, microseconds in rows.items():
        print(f"{label:45} {microseconds:9.2f} µs")


if __name__ == "__main__":
    main()
