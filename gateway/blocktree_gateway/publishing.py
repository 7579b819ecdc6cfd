"""Readings as people read files: one CSV a day, and `last`, beside the sealed stream.

These are for looking at; the proof is in the stream (`bt history --verify`). Only a process that
may read the readings can publish them, so a gateway does it for the user that it runs for.
"""

import asyncio
import csv
import io
import logging
from collections.abc import Callable, Iterable

from blocktree.fault import Fault
from blocktree_gateway.messages import NOWHERE, Clock, Entry, Place, Reading, Start
from blocktree_gateway.stream.columns import read_column, time_text, value_texts
from blocktree_gateway.stream.entries import Reader
from blocktree_gateway.tree.smallfiles import Place as TreePlace
from blocktree_gateway.tree.smallfiles import SmallFiles
from blocktree_gateway.tree.streamfile import Item, StreamFile, segment_place

log = logging.getLogger(__name__)

READINGS = b"readings"
LAST = b"last"
PUBLISH_S = 60.0  # between two while the device is busy
UNDATED_MAX = 4096
_UNDATED = b"undated.csv"
_Row = tuple[Place, int | None, Reading]


class Publisher:
    """Writes the readings of one device as CSV.

    Args:
        files: the tree.
        place: the device's directory.
        reader: who opens the entries.
        publish_s: between two writes while the device is busy.
        may: whether this gateway speaks for the device at this moment: nobody else writes then.
    """

    def __init__(
        self,
        files: SmallFiles,
        place: TreePlace,
        reader: Reader,
        publish_s: float = PUBLISH_S,
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        self._may = may
        self._files = files
        self.place = place
        self.reader = reader
        self._publish_s = publish_s
        self._columns: tuple[str, ...] = ()
        self._headed: dict[bytes, tuple[str, ...]] = {}  # the columns that a file has
        self._shifts: dict[int, int] = {}
        self._undated: list[tuple[Place, Reading]] = []
        self._rows: list[_Row] = []
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def catch_up(self, stream: StreamFile) -> None:
        """Go on where whoever spoke for the device before stopped: at most 4096 rows are missing.

        Raises:
            Fault: DAMAGED.
        """
        done, held, count = await self._published(), list[list[tuple[Place, object]]](), 0
        for segment in reversed(await stream.segments()):
            items = await stream.read(segment)
            told = [(item.place, self._open(item)) for item in items if isinstance(item, Entry)]
            begun = any(isinstance(content, Start) for _, content in told)
            if count >= UNDATED_MAX:  # of older ones only what later ones need
                told = [each for each in told if not isinstance(each[1], Reading)]
            held.append(told)
            count += len(told)
            if begun and (segment_place(segment) <= done or count >= UNDATED_MAX):
                break
        for told in reversed(held):
            for place, content in told:
                self._learn(place, content)
        self._undated = [each for each in self._undated if each[0] > done]
        self._rows = [row for row in self._rows if row[0] > done][-UNDATED_MAX:]
        if self._rows:
            self._wake.set()

    async def _published(self) -> Place:
        """The newest place that has its row. Rows are written in the order of their places."""
        folder, newest = (*self.place, READINGS), NOWHERE
        days = [name for name in await self._files.names(folder) if name != _UNDATED]
        for name in (*days[-2:], _UNDATED):
            content = await self._files.read((*folder, name)) or b""
            for line in reversed(content.splitlines()):
                row = line.split(b",", 3)
                if len(row) == 4 and row[1].isdigit() and row[2].isdigit():
                    newest = max(newest, (int(row[1]), int(row[2])))
                    break
        return newest

    def take(self, items: Iterable[Item]) -> None:
        """These were committed."""
        for item in items:
            if isinstance(item, Entry):
                self._learn(item.place, self._open(item))
        if self._rows:
            self._wake.set()

    def abandon(self) -> None:
        """Another gateway may speak for the device: it publishes what waits."""
        self._task.cancel()
        self._rows.clear()

    async def close(self) -> None:
        """Write what waits, and stop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._publish()
        except Fault as fault:
            log.warning("not published: %s", fault)

    def _open(self, entry: Entry) -> object:
        try:
            return self.reader.open(entry)
        except Fault as fault:
            log.warning("not published: %s", fault)
            return None

    def _learn(self, place: Place, content: object) -> None:
        if isinstance(content, Start):
            self._columns = content.columns
            self._settle(place[0])
        elif isinstance(content, Clock):
            self._shifts = {place[0]: content.time_ms - content.uptime_ms}
            self._settle(place[0])
        elif isinstance(content, Reading):
            shift = self._shifts.get(place[0])
            time_ms = content.time_ms
            if time_ms is None and shift is not None:
                time_ms = shift + content.uptime_ms
            if time_ms is None and len(self._undated) < UNDATED_MAX:
                self._undated.append((place, content))
            else:
                self._rows.append((place, time_ms, content))

    def _settle(self, boot: int) -> None:
        """Give a time to what waits for one; what is of an earlier boot will never have one."""
        waiting, self._undated = self._undated, []
        for place, reading in waiting:
            shift = self._shifts.get(place[0])
            if shift is not None:
                self._rows.append((place, shift + reading.uptime_ms, reading))
            elif place[0] < boot:
                self._rows.append((place, None, reading))
            else:
                self._undated.append((place, reading))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._publish()
            except Fault as fault:
                log.warning("not published yet: %s", fault)
                self._wake.set()
            await asyncio.sleep(self._publish_s)

    async def _publish(self) -> None:
        rows = list(self._rows)
        if not rows or not self._may():
            return
        by_file: dict[bytes, list[_Row]] = {}
        for row in rows:
            day = time_text(row[1])[:10].encode()
            by_file.setdefault(day + b".csv" if day else _UNDATED, []).append(row)
        for name, some in by_file.items():
            await self._append(name, some)
        last = self._last(rows[-1]).encode()
        await self._files.overwrite((*self.place, LAST), last, base=len(self.place))
        del self._rows[: len(rows)]

    async def _append(self, name: bytes, rows: list[_Row]) -> None:
        place = (*self.place, READINGS, name)
        if name not in self._headed:
            there = await self._files.read(place)
            self._headed[name] = _columns_of(there)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        heads = tuple(read_column(text).head for text in self._columns)
        if self._headed[name] != heads:
            writer.writerow(("time", "boot", "seq", *heads))
        known = [read_column(text) for text in self._columns]
        for (boot, seq), time_ms, reading in rows:
            values = [c.number(v) for c, v in zip(known, reading.values, strict=False)]
            writer.writerow((time_text(time_ms), boot, seq, *values))
        await self._files.append(place, out.getvalue().encode(), base=len(self.place))
        self._headed = {name: heads}

    def _last(self, row: _Row) -> str:
        (boot, seq), time_ms, reading = row
        values = "  ".join(value_texts(self._columns, reading.values))
        return f"{time_text(time_ms) or 'time unknown'}  {values}  boot {boot} seq {seq}\n"


def _columns_of(content: bytes | None) -> tuple[str, ...]:
    """The columns of the last header line in a file."""
    heads: tuple[str, ...] = ()
    for line in csv.reader((content or b"").decode(errors="replace").splitlines()):
        if line[:3] == ["time", "boot", "seq"]:
            heads = tuple(line[3:])
    return heads
