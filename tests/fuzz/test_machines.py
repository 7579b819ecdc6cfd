"""Random messages for every pure machine: what each refuses is a Fault, and its invariants hold."""

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocktree.mount.protocol import INIT_IN, Opcode
from blocktree.mount.requests import SERVES
from blocktree.store.repair import Repair, Stage
from mount.test_session import Kernel

TESTS = Path(__file__).parents[1]
NODE = TESTS.parent / "node"
PURE = ("raft", "sectors", "contract", "wire", "keys", "caps", "store/repair.py", "store/locks.py")
VERBS = {"receive", "tick", "buffer_updated", "alive", "apply"}

# Every machine, and the module whose hypothesis test feeds it.
MACHINES = {
    "blocktree.raft.core.Raft": "raft/test_fuzz.py",
    "blocktree.sectors.state.SectorState": "sectors/test_replicas.py",
    "blocktree.wire.frame.FrameReader": "wire/test_frame.py",
    "blocktree.store.locks.LockTable": "store/test_locks.py",
    "blocktree.store.repair.Repair": "fuzz/test_machines.py",
}


def test_no_machine_is_without_random_messages() -> None:
    assert set(machines()) == MACHINES.keys()


@pytest.mark.parametrize("path", sorted(set(MACHINES.values())))
def test_the_module_feeds_it_by_hypothesis(path: str) -> None:
    assert "@given" in (TESTS / path).read_text()


def machines() -> Iterator[str]:
    """Public classes of the pure packages that take messages, time, bytes or commands."""
    for part in PURE:
        place = NODE / "blocktree" / part
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            module = ".".join(path.relative_to(NODE).with_suffix("").parts)
            for node in ast.parse(path.read_text()).body:
                if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
                    continue
                verbs = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                if verbs & VERBS and "Protocol" not in {ast.unparse(base) for base in node.bases}:
                    yield f"{module}.{node.name}"


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("cleared"), st.integers(0, 9)),
        st.tuples(st.just("tick"), st.integers(0, 5)),
        st.tuples(st.just("applied"), st.integers(0, 9)),
        st.tuples(st.just("restoring"), st.integers(0, 9)),
        st.tuples(st.just("work"), st.just(0)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(events=EVENTS, damaged=st.booleans())
def test_a_repair_never_skips_a_stage(events: list[tuple[str, int]], *, damaged: bool) -> None:
    repair = Repair(damaged=damaged, wait_ticks=3)
    waited = 0
    for what, number in events:
        before = repair.stage
        if what == "cleared":
            repair.cleared(number)
        elif what == "tick":
            waited += number if before is Stage.WAITING else 0
            repair.tick(number)
        elif what in {"applied", "restoring"}:
            repair.applied(number, restoring=what == "restoring")
            if repair.stage is not before:
                assert what == "applied"
                assert number >= repair.index
        elif before is Stage.FORGETTING:
            repair.forgotten()
        elif before is Stage.NOTING:
            repair.noted()
        assert repair.stage in {before, before + 1}
        if damaged and repair.stage > Stage.WAITING:
            assert waited >= 3
        assert repair.active == (repair.stage is not Stage.SOUND)
        assert repair.deaf == (repair.stage < Stage.CATCHING_UP)
    assert damaged or repair.stage is Stage.SOUND


SERVED = sorted(set(Opcode) - {Opcode.DESTROY, Opcode.INIT})
REQUESTS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(SERVED), st.integers(0, 99)),
        st.integers(0, 3),
        st.one_of(st.binary(max_size=120), st.just(bytes(64)), st.just(b"name\0other\0")),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(requests=REQUESTS)
def test_no_request_of_the_kernel_ends_the_session(requests: list[tuple[int, int, bytes]]) -> None:
    async def story() -> None:
        kernel = Kernel(dict(SERVES))
        try:
            await kernel.ask(Opcode.INIT, INIT_IN.pack(7, 38, 1 << 20, 0) + bytes(48))
            for opcode, node, body in requests:
                await kernel.ask(int(opcode), body, node)
            last = await kernel.ask(Opcode.GETATTR, bytes(16))
            while (await kernel.reply())[0] != last:
                pass
        finally:
            await kernel.close()

    asyncio.run(story())
