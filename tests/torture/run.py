"""One run: nodes and clients start, troubles come and go, and in the end everything is judged."""

import json
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from blocktree.disk import Disk, Keeper, Limits, LmdbIndex, OsFiles
from blocktree.keys import Credential
from torture.house import REMOVED, House
from torture.judge import Record
from torture.troubles import TROUBLES

LIVE_SECONDS = 30.0  # the longest that a healed tree may need to acknowledge something
START_SECONDS = 120.0  # for the processes of revived nodes
CONVERGE_SECONDS = 400.0  # for newcomers to fetch everything, on a busy machine
_HANDS = ("writer", "writer", "reader", "reader", "keeper", "keeper")
ROTTEN = ("the log is damaged", "is damaged on the disk", " is damaged: segment ")
# asyncio of Python 3.11 ends a transport twice when what it resumes finds the connection broken.
ASYNCIO = "_SelectorSocketTransport._call_connection_lost"
_LOCAL = (b"~", b"s", b"b")  # notes of a node about itself, and what sweeping takes away


@dataclass(slots=True)
class Outcome:
    """What a run found."""

    seed: int
    rounds: int = 0
    tried: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)  # seconds from healed to acknowledged
    violations: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)  # lines of logs that deserve a look
    told: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: "Outcome") -> None:
        """Count another run as part of this one."""
        self.rounds += other.rounds
        self.seconds += other.seconds
        for mine, more in (
            (self.tried, other.tried),
            (self.survived, other.survived),
            (self.told, other.told),
            (self.faults, other.faults),
        ):
            mine.update(more)
        for lines, further in (
            (self.violations, other.violations),
            (self.remarks, other.remarks),
        ):
            lines += [f"seed {other.seed}: {line}" for line in further]
        self.recoveries += other.recoveries

    def table(self) -> str:
        """For people."""
        lines = [f"{'TROUBLE':22}{'TRIED':>7}{'SURVIVED':>10}"]
        lines += [f"{n:22}{self.tried[n]:7}{self.survived[n]:10}" for n in sorted(self.tried)]
        lines.append(f"{'all':22}{self.tried.total():7}{self.survived.total():10}")
        lines += [f"{what:22}{count:7,}" for what, count in sorted(self.told.items())]
        if self.recoveries:
            middle, last = statistics.median(self.recoveries), max(self.recoveries)
            lines.append(f"live again after p50 {middle:.2f} s, max {last:.2f} s")
        faults = ", ".join(f"{kind} {count}" for kind, count in self.faults.most_common())
        lines.append(f"faults that clients saw: {faults or 'none'}")
        lines += [f"! {violation}" for violation in self.violations]
        lines += [f"? {remark}" for remark in self.remarks]
        lines.append(f"seed {self.seed}, {self.rounds} rounds in {self.seconds:.0f} s")
        return "\n".join(lines)

    def text(self) -> str:
        """For programs."""
        counted = (self.tried, self.survived, self.told, self.faults)
        names = ("tried", "survived", "told", "faults")
        tables = {name: dict(counter) for name, counter in zip(names, counted, strict=True)}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in tables}
        return json.dumps({"schema": "torture/1", **rest, **tables})


class Run:
    """A run below `folder`, decided by `seed` as far as real processes can be."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.house = House(folder, self.dice)
        self.outcome = Outcome(seed)
        self._seen: dict[Path, int] = {}
        self._begun = time.monotonic()

    def play(self, kills: int, seconds: float | None = None) -> Outcome:
        """Start, trouble, judge, and leave nothing behind."""
        try:
            self._begin()
            while self.outcome.tried.total() < kills and not self._over(seconds):
                self._round()
                if self.outcome.violations:
                    break
            self._finish()
        finally:
            self.house.close()
            self.outcome.seconds = time.monotonic() - self._begun
        return self.outcome

    def failover(self, count: int) -> Outcome:
        """Kill the leader so often, and measure how soon the next write is acknowledged."""
        house = self.house
        try:
            self._begin()
            for _ in range(count):
                self._wait("all are back", lambda: self._voters() == len(house.names()))
                time.sleep(1.0)
                self._wait("a leader", house.leader)
                self.outcome.tried["kill leader"] += 1
                killed = time.monotonic_ns()
                house.end(house.leader())
                self._check_live("the leader was killed", killed)
                self.outcome.survived["kill leader"] += not self.outcome.violations
                for name in house.names():
                    house.revive(name)
            self._finish()
        finally:
            house.close()
            self.outcome.seconds = time.monotonic() - self._begun
        return self.outcome

    def _over(self, seconds: float | None) -> bool:
        return seconds is not None and time.monotonic() - self._begun > seconds

    # the story

    def _begin(self) -> None:
        house = self.house
        house.join("n1")
        self._wait("n1 leads", house.leader)
        house.places.tree_place("home").founded()
        for name in ("n2", "n3"):
            house.join(name)
        self._wait("three voters", lambda: self._voters() == 3)
        for role in _HANDS:
            house.hire(role)
        self._wait("a first write", lambda: self._acknowledged_after(0))

    def _round(self) -> None:
        house, dice, outcome = self.house, self.dice, self.outcome
        names, weights = list(TROUBLES), [weight for weight, _ in TROUBLES.values()]
        count = 1 if dice.random() < 0.75 else 2
        chosen = list(dict.fromkeys(dice.choices(names, weights, k=count)))
        mends = []
        for name in chosen:
            outcome.tried[name] += 1
            house.note(name)
            mends.append(TROUBLES[name][1](house, dice))
            time.sleep(dice.uniform(0, 0.3))
        time.sleep(dice.choice((0.2, 0.8, 2.0, 4.0)) * dice.uniform(0.7, 1.3))
        for mend in mends:
            mend()
        for name in house.names():
            house.revive(name)
        if dice.random() < 0.05 and "n4" not in house.names():
            house.join("n4")
        self._check_live(" and ".join(chosen), time.monotonic_ns())
        if not outcome.violations:
            outcome.survived.update(chosen)
        outcome.rounds += 1
        time.sleep(dice.uniform(0.1, 1.0))

    def _check_live(self, what: str, healed: int) -> None:
        """Something is acknowledged soon after everything was mended.

        On a busy machine Python takes its time to start; that is not what is judged.
        """
        started = time.monotonic() + START_SECONDS
        while not self.house.answers() and time.monotonic() < started:
            time.sleep(0.02)
        deadline = time.monotonic() + LIVE_SECONDS
        while not (acknowledged := self._acknowledged_after(healed)):
            if time.monotonic() > deadline:
                self.outcome.violations.append(
                    f"after {what}: nothing acknowledged for {LIVE_SECONDS:.0f} s"
                )
                return
            time.sleep(0.05)
        self.outcome.recoveries.append((acknowledged - healed) / 1e9)
        self.outcome.violations += self.house.died

    def _finish(self) -> None:
        house, outcome = self.house, self.outcome
        house.dismiss()
        record = Record()
        for journal in house.journals():
            record.add(journal)
        outcome.told, outcome.faults = record.told, record.faults
        outcome.violations += record.wrong
        outcome.violations += [f"{n} x {what}" for what, n in record.surprises.most_common(5)]
        try:
            self._wait("all replicas have applied the same", self._converged, CONVERGE_SECONDS)
            found, at = house.audit()
        except AssertionError as fault:
            outcome.violations.append(f"at the end: {fault}")
        else:
            outcome.violations += record.missing(found)
            record.read_at_end(found, at)
            outcome.violations += record.tangled()
        outcome.violations += [what for what in house.died if what not in outcome.violations]
        self._compare_tables()
        outcome.violations += self._errors("nodes/*.log")
        outcome.remarks += self._errors("journals/*.log")

    # questions

    def _wait(self, what: str, holds: object, seconds: float = 240.0) -> None:
        assert callable(holds)
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.1)

    def _voters(self) -> int:
        return sum(each["role"] in {"leader", "follower"} for each in self.house.statuses())

    def _acknowledged_after(self, moment: int) -> int:
        """When something was acknowledged first that was asked after this moment; 0: not yet."""
        for journal in self.house.journals():
            if not journal.exists() or journal.name.endswith("reader"):
                continue
            with journal.open("rb") as file:
                file.seek(self._seen.get(journal, 0))
                lines = file.read()
            calls = set()
            for line in lines.splitlines():
                try:
                    at, what, number, *_ = json.loads(line)
                except ValueError:
                    break
                if what == "call" and at > moment:
                    calls.add(number)
                elif what == "done" and number in calls:
                    self._seen[journal] = 0
                    return int(at)
            if not calls:
                self._seen[journal] = self._seen.get(journal, 0) + lines.rfind(b"\n") + 1
        return 0

    def _converged(self) -> bool:
        found = self.house.statuses()
        if not found or any(each["role"] == "away" for each in found):
            return False
        applied = {each["applied"] for each in found} | {each["committed"] for each in found}
        doubts = [fault for each in found for fault in each["faults"] if "log is damaged" in fault]
        leads = any(each["role"] == "leader" for each in found)
        return len(applied) == 1 and leads and not doubts

    def _compare_tables(self) -> None:
        """Stop all nodes and hold their state tables against each other, row by row.

        All are frozen first: those that run while one ends could decide something without it.
        """
        names = [name for name in self.house.names() if self.house.machines[name].runs]
        for name in names:
            self.house.pause(name)
        for name in names:
            self.house.end(name, 15)
        tables = {name: self._table(self.house.machines[name].folder) for name in names}
        first = names[0]
        for name in names[1:]:
            one, other = tables[first], tables[name]
            differing = sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))
            if differing:
                self.outcome.violations.append(
                    f"{len(differing)} rows differ between {first} and {name}: "
                    f"{[key[:24] for key in differing[:3]]}"
                )

    @staticmethod
    def _table(folder: Path) -> dict[bytes, bytes]:
        who = Credential.load((folder / "credential").read_bytes())
        keeper = Keeper(who.tree, who.principal)
        disk = Disk.open(OsFiles(folder / "log"), LmdbIndex(folder / "index"), Limits(), keeper)
        rows: dict[bytes, bytes] = {}
        after = b""
        try:
            while some := disk.table_items(b"", after, 4096):
                rows.update((k, v) for k, v in some if not k.startswith(_LOCAL))
                after = some[-1][0]
        finally:
            disk.close()
        return rows

    def _errors(self, pattern: str) -> list[str]:
        """What logs call an error, but for what a trouble was meant to bring about."""
        found: Counter[str] = Counter()
        for log in sorted(self.house.folder.glob(pattern)):
            expected = (REMOVED, ASYNCIO, *(ROTTEN if log.stem in self.house.rotten else ()))
            for line in log.read_text(errors="replace").splitlines():
                if " ERROR " in line and not any(words in line for words in expected):
                    found[f"{log.name}: {line.partition(' ERROR ')[2][:160]}"] += 1
        return [f"{count} x {line}" for line, count in found.most_common(20)]
