"""The dispatch of actors with and without a contract, for `bench_actors`."""

import statistics
import time
from dataclasses import dataclass

from blocktree.actors import Actor, Address, Call, Runtime, plays, receives
from blocktree.contract import Contract, Role, State, answers, mirror
from blocktree.names import Path
from blocktree.wire import Record, record


@record(0x7F54)
@dataclass(frozen=True, slots=True)
class Tick(Record):
    amount: int


@record(0x7F55)
@dataclass(frozen=True, slots=True)
class Tock(Record):
    amount: int


# Each message moves the conversation to the other state, so each receive finds another table.
CLOCK = Contract(
    "clock",
    1,
    Role(
        "clock",
        State("even", answers(Tick, Tick, then="odd")),
        State("odd", answers(Tock, Tock, then="even")),
    ),
    mirror("hand"),
)


class Bare(Actor):
    @receives
    def tick(self, message: Tick, call: Call) -> Tick:
        return message

    @receives
    def tock(self, message: Tock, call: Call) -> Tock:
        return message


@plays(CLOCK.role("clock"))
class Checked(Bare):
    pass


async def compare(rounds: int) -> list[tuple[str, str, float]]:
    """The same messages to the same methods with and without a contract, turn by turn.

    Judged by CPU time: the median of the ratios of rounds that follow each other, since what
    disturbs this machine disturbs both; and the least time of each. Rows: what, who, CPU in µs.
    """
    runtime = Runtime(Path("/bt1bench/here"))
    hand = Address(runtime.here, "hand")
    bare = await runtime.spawn("bare", Bare())
    checked = await runtime.spawn("checked", Checked())
    rows = []
    for what, spend in (("local tell", _tell_round), ("local ask", _ask_round)):
        least = {bare: 1e9, checked: 1e9}
        ratios = []
        for turn in range(rounds):
            spent = {}
            for to in (bare, checked) if turn % 2 else (checked, bare):
                spent[to] = await spend(runtime, to, hand)
                least[to] = min(least[to], spent[to])
            ratios.append(spent[checked] / spent[bare])
        rows.append((f"{what}, bare dispatch", "blocktree", least[bare]))
        ratio = statistics.median(ratios)
        rows.append((f"{what}, contract-checked", f"blocktree ×{ratio:.3f}", least[checked]))
    await runtime.close()
    return rows


async def _tell_round(runtime: Runtime, to: Address, hand: Address, count: int = 2000) -> float:
    tick, tock = Tick(1), Tock(1)
    begin = time.process_time()
    for _ in range(count // 2 - 1):
        await runtime.tell(to, tick, sender=hand)
        await runtime.tell(to, tock, sender=hand)
    await runtime.tell(to, tick, sender=hand)
    await runtime.ask(to, tock, sender=hand)
    return (time.process_time() - begin) / count * 1e6


async def _ask_round(runtime: Runtime, to: Address, hand: Address, count: int = 200) -> float:
    tick, tock = Tick(1), Tock(1)
    begin = time.process_time()
    for _ in range(count // 2):
        await runtime.ask(to, tick, sender=hand)
        await runtime.ask(to, tock, sender=hand)
    return (time.process_time() - begin) / count * 1e6
