"""The device table: its bytes, pinned in `tests/vectors/contract`, and the monitor over them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.contract import Contract, Node, Role, State, answers, hears, machine, mirror
from blocktree.contract.compact import TABLE_BYTES_MAX, Walk, encode_table, read_table
from blocktree.fault import Fault, Kind
from contract.test_dispatch import BOX, DOOR
from contract.words import Get, Got, Put
from vector import FOLDER, Vector, load, pin, verdict

BOX_TABLE = encode_table(BOX.role("box"))
DOOR_TABLE = encode_table(DOOR.role("door"))
USER_TABLE = encode_table(BOX.role("user"))
BAD_INDEX = BOX_TABLE[:-1] + b"\x63"
CASES = {
    "in-order": (
        BOX_TABLE,
        "ok",
        "take Open, answer Opened, take Put, take Get, answer Got",
        "open",
    ),
    "answer-decides": (BOX_TABLE, "ok", "take Open, answer Refused, take Open", "shut"),
    "refused-stays": (BOX_TABLE, "ok", "take Open, answer Opened, take Get, refuse", "open"),
    "refused-moves": (BOX_TABLE, "ok", "take Open, answer Opened, take Seal, refuse", "shut"),
    "done": (BOX_TABLE, "ok", "take Open, answer Opened, take Close, done", "shut"),
    "over-begins-anew": (
        *(BOX_TABLE, "ok"),
        "take Open, answer Opened, take Seal, done, take Get, answer Got, take Open, answer Opened",
        "open",
    ),
    "too-early": (BOX_TABLE, "contract", "take Put", "shut"),
    "twice": (BOX_TABLE, "contract", "take Open, answer Opened, take Open", "open"),
    "meanwhile": (BOX_TABLE, "contract", "take Open, take Open", "shut"),
    "wrong-answer": (BOX_TABLE, "contract", "take Open, answer Got", "shut"),
    "no-question": (BOX_TABLE, "contract", "answer Opened", "shut"),
    "unknown": (BOX_TABLE, "contract", "take Shout", "shut"),
    "says": (DOOR_TABLE, "ok", "say Ready, take Put, say Get, answer Got", "ready"),
    "says-too-early": (DOOR_TABLE, "contract", "say Get", "new"),
    "lost": (DOOR_TABLE, "ok", "say Ready, take Put, lose", "again"),
    "lost-begins-anew": (USER_TABLE, "ok", "say Open, answer Opened, lose", "shut"),
    "bad-magic": (b"BTC2" + BOX_TABLE[4:], "malformed", "", ""),
    "bad-cut": (BOX_TABLE[:-1], "malformed", "", ""),
    "bad-more": (BOX_TABLE + b"\0", "malformed", "", ""),
    "bad-index": (BAD_INDEX, "malformed", "", ""),
    "bad-empty": (b"BTC1\0\0" + bytes(8) + b"\0", "malformed", "", ""),
    "bad-large": (BOX_TABLE + bytes(TABLE_BYTES_MAX), "too_large", "", ""),
}


def play(walk: Walk, steps: str) -> None:
    for step in steps.split(", ") if steps else []:
        verb, _, name = step.partition(" ")
        match verb:
            case "take":
                walk.take(name)
            case "say":
                walk.say(name)
            case "answer":
                walk.answer(name)
            case "done":
                walk.answer()
            case "refuse":
                walk.refuse()
            case _:
                walk.lose()


@pytest.mark.parametrize("name", CASES)
def test_vectors_are_what_we_write(name: str, rewrite: bool) -> None:
    table, expect, steps, at = CASES[name]
    headers = {"expect": expect, "steps": steps or "none", "at": at or "nowhere"}
    pin("contract", name, Vector(headers, [table]), rewrite=rewrite)


@pytest.mark.parametrize("path", sorted((FOLDER / "contract").glob("*.txt")), ids=lambda p: p.stem)
def test_vectors_are_walked_as_they_expect(path: Path) -> None:
    vector = load(path)
    steps = "" if vector.headers["steps"] == "none" else vector.headers["steps"]
    walks = []

    def walk() -> None:
        walks.append(Walk(read_table(vector.values[0])))
        play(walks[0], steps)

    assert verdict(walk) == vector.headers["expect"]
    assert (walks[0].point.name if walks else "nowhere") == vector.headers["at"]


def test_tables_are_small() -> None:
    assert max(len(table) for table in (BOX_TABLE, DOOR_TABLE, USER_TABLE)) < 200
    names = [f"a-state-with-a-very-long-name-{number}" for number in range(60)]
    long = [State(n, hears(Put, then=names[(i + 1) % 60])) for i, n in enumerate(names)]
    contract = Contract("long", 1, Role("box", *long), mirror("user"))
    with pytest.raises(Fault, match="shorten the names") as raised:
        encode_table(contract.role("box"))
    assert raised.value.kind is Kind.TOO_LARGE


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"BTC1" + tail))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    assert verdict(lambda: read_table(data)) == "malformed"


@given(st.data())
def test_a_walk_is_where_the_machine_is(data: st.DataObject) -> None:
    contract = data.draw(st.sampled_from([BOX, DOOR]))
    role = data.draw(st.sampled_from(contract.roles))
    start: Node = machine(contract, role)
    walk, node = Walk(read_table(encode_table(role))), start
    for _ in range(data.draw(st.integers(0, 12))):
        assert walk.point.name == node.name
        assert tuple(walk.expected()) == node.expected
        options = [(True, m) for m in node.takes] + [(False, m) for m in node.sends]
        taken, message = data.draw(st.sampled_from(options))
        turn = (node.takes if taken else node.sends)[message]
        (walk.take if taken else walk.say)(message.__name__)
        asked = turn.branches[0].verb.value in ("asks", "answers")
        answer = data.draw(st.sampled_from(list(turn.after)))
        node = turn.after[answer]
        if asked:
            walk.answer(None if answer is None else answer.__name__)
        node = start if node.over else node


ASKED = Contract("asked", 1, Role("box", State("s", answers(Get, Got), hears(Put))), mirror("user"))


def test_a_table_names_its_contract_and_role() -> None:
    table = read_table(encode_table(ASKED.role("box")))
    assert table.role == "asked.box"
    assert [name for _, name in table.messages] == ["Put", "Get", "Got"]
