"""The typed stub: a type checker takes right orders and refuses wrong ones, and it works."""

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from blocktree.actors import Runtime
from blocktree.actors.description import Describe
from blocktree.actors.line import ActorLine
from blocktree.contract import Role
from blocktree.contract.stub import stub
from blocktree.fault import Fault, Kind
from contract.test_dispatch import BOX, DOOR, HERE, Box, Door
from contract.words import Close, Get, Got, Open, Opened, Put, Ready, Refused, Seal

ROOT = Path(__file__).parent.parent.parent

RIGHT = """
from contract.words import Close, Get, Got, Open, Opened, Put, Seal
from blocktree.actors.line import Line
from blocktree.fault import Fault, Kind
from box_user import UserOpenOpened, UserShut
from door_guest import GuestNew


async def speak(line: Line) -> int:
    said = await UserShut(line).open(Open("jo"))
    if not isinstance(said, UserOpenOpened):
        said = await said.now.open(Open("jo"))
        assert isinstance(said, UserOpenOpened)
    opened: Opened = said.answer
    print(opened)
    box = await said.now.put(Put(1))
    got, box = await box.get(Get())
    shut = await box.close(Close())
    await shut.open(Open())
    return got.number


async def listen(line: Line) -> None:
    heard = await GuestNew(line).hear()
    busy = await heard.now.put(Put(1))
    asked = await busy.hear()
    ready = asked.answer_got(Got(1))
    await ready.put(Put(2))
"""

# Each function breaks the order once; the comment is what mypy must say of that line.
WRONG = """
from contract.words import Close, Get, Open, Put
from blocktree.actors.line import Line
from box_user import UserOpen, UserShut
from door_guest import GuestNew


async def before_it_is_open(line: Line) -> None:
    await UserShut(line).put(Put(1))  # "UserShut" has no attribute "put"


async def another_message(box: UserOpen) -> None:
    await box.put(Get())  # Argument 1 to "put" of "UserOpen" has incompatible type "Get"


async def whatever_the_answer(line: Line) -> None:
    said = await UserShut(line).open(Open())
    await said.now.put(Put(1))  # Item "UserShut" of "UserOpen | UserShut" has no attribute "put"


async def after_it_was_closed(box: UserOpen) -> None:
    shut = await box.close(Close())
    await shut.get(Get())  # "UserShut" has no attribute "get"


async def out_of_turn(line: Line) -> None:
    await GuestNew(line).put(Put(1))  # "GuestNew" has no attribute "put"


async def without_an_answer(line: Line) -> None:
    heard = await GuestNew(line).hear()
    asked = await (await heard.now.put(Put(1))).hear()
    asked.answer_got()  # Missing positional argument "answer"
"""


def write(folder: Path, name: str, role: Role) -> Path:
    path = folder / f"{name}.py"
    path.write_text(stub(role))
    return path


def test_a_type_checker_takes_right_orders_and_refuses_wrong_ones(tmp_path: Path) -> None:
    write(tmp_path, "box_user", BOX.role("user"))
    write(tmp_path, "door_guest", DOOR.role("guest"))
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    paths = f"{ROOT / 'node'}:{ROOT / 'tests'}:{tmp_path}"
    settings = ("[mypy]", "strict = True", "explicit_package_bases = True", f"mypy_path = {paths}")
    (tmp_path / "mypy.ini").write_text("\n".join(settings))
    files = [str(tmp_path / name) for name in ("right.py", "wrong.py")]
    cache = ["--cache-dir", str(ROOT / ".mypy_cache" / "stubs")]
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", *cache, *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if ": error: " in line]
    wanted = {
        number: line.partition("  # ")[2]
        for number, line in enumerate(WRONG.splitlines(), 1)
        if "  # " in line
    }
    found = {int(line.split(":")[1]): line for line in said if line.startswith("wrong.py")}
    assert not [line for line in said if not line.startswith("wrong.py")], done.stdout
    assert set(found) == set(wanted), done.stdout + done.stderr
    for number, words in wanted.items():
        assert words in found[number]


def module(folder: Path, name: str, role: Role) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, write(folder, name, role))
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def test_the_stub_speaks_with_the_actor(tmp_path: Path) -> None:
    user = module(tmp_path, "box_user_runs", BOX.role("user"))

    async def play() -> None:
        runtime = Runtime(HERE)
        actor = Box()
        line = ActorLine(await runtime.spawn("box", actor))
        await runtime.spawn("jo", line)
        shut = user.UserShut(line)
        said = await shut.open(Open("kim"))
        assert isinstance(said, user.UserOpenRefused)
        assert said.answer == Refused()
        said = await said.now.open(Open("jo"))
        assert said.answer == Opened()
        box = await said.now.put(Put(4))
        with pytest.raises(Fault, match="UserOpen was left already"):
            await said.now.put(Put(5))
        with pytest.raises(Fault, match="no"):
            await box.seal(Seal(-1))
        again = (await box.refused.open(Open("jo"))).now
        shut = await again.close(Close())
        assert isinstance(shut, user.UserShut)
        assert actor.numbers == [4]
        await runtime.close()

    asyncio.run(play())


def test_the_stub_hears_and_answers(tmp_path: Path) -> None:
    guest = module(tmp_path, "door_guest_runs", DOOR.role("guest"))

    async def play() -> None:
        runtime = Runtime(HERE)
        door = await runtime.spawn("door", Door())
        line = ActorLine(door)
        me = await runtime.spawn("guest", line)
        await runtime.tell(me, Ready(), sender=door)
        heard = await asyncio.wait_for(guest.GuestNew(line).hear(), 5)
        busy = await heard.now.put(Put(1))
        await runtime.ask(door, Describe())  # so the door has heard it
        asking = asyncio.ensure_future(runtime.ask(me, Get(), Got, sender=door))
        asked = await asyncio.wait_for(busy.hear(), 5)
        asked.answer_got(Got(9))
        assert await asking == Got(9)
        with pytest.raises(Fault, match="answered already"):
            asked.refuse(Fault(Kind.BUSY, "no"))
        await runtime.close()

    asyncio.run(play())
