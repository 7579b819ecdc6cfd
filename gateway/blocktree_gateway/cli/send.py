"""`bt send PATH Led.set on`: have a device do something, and say when it did.

Registered in `blocktree.commands`, where `bt send` finds it.
"""

import time
from collections.abc import Sequence

import cbor2
import click

from blocktree.cli.output import duration_text, say
from blocktree.cli.session import Session, run
from blocktree.fault import Fault, Kind
from blocktree_gateway.cli.opening import open_device
from blocktree_gateway.devicemessages import DeviceState, GetDevice, Perform, Performed
from blocktree_gateway.stream.columns import time_text

_YES = {"on": True, "true": True, "yes": True, "1": True}
_NO = {"off": False, "false": False, "no": False, "0": False}
_SLACK_S = 5.0


def send(
    path: str, name: str, words: Sequence[str], timeout: float, addresses: Sequence[str]
) -> int:
    """Carry a command to a device and print its answer; the exit code.

    Raises:
        Fault: USAGE for a command that the device does not take; what the device says.
    """

    async def work(session: Session) -> tuple[Performed, bool]:
        opened = await open_device(session, path)
        state = await opened.ask(GetDevice(), DeviceState)
        arguments = cbor2.dumps(read_arguments(state.commands, name, words))
        perform = Perform(name, arguments, int(timeout * 1000))
        return await opened.ask(perform, Performed, timeout + _SLACK_S), bool(state.link)

    performed, here = run(work, addresses, leaderless=False)
    if performed.kind == Kind.BUSY and not here:
        say(f"{path} is away: the command waits for it, and is done once when it is back.")
        return 0
    answer = cbor2.loads(performed.result)
    if performed.kind:
        sentence = str(answer[0]) if answer else Kind(performed.kind).name.lower()
        raise Fault(Kind(performed.kind), sentence, path=path)
    parts = [f"done in {duration_text(performed.took_ms / 1000)}"]
    if answer:
        parts.append(f"{name} = {' '.join(map(word, answer))}")
    parts.append(f"at {time_text(performed.time_ms) or time.strftime('%H:%M:%S')}")
    click.echo("   ".join(parts))
    return 0


def read_arguments(commands: Sequence[str], name: str, words: Sequence[str]) -> list[object]:
    """The arguments of a command, by what the device says that it takes.

    Raises:
        Fault: NOT_FOUND for a command that it does not have, USAGE for arguments that do not fit.
    """
    known = {line.split(" ")[0]: line.split(" ")[1:] for line in commands}
    if name not in known:
        there = ", ".join(commands) or "none: it runs no app, or was not here since the gateway is"
        raise Fault(Kind.NOT_FOUND, f"has no command {name}", next_step=f"it has: {there}")
    shape = known[name]
    if len(words) != len(shape):
        what = f"{name} takes {len(shape)} arguments, not {len(words)}"
        raise Fault(Kind.USAGE, what, next_step=" ".join([name, *shape]))
    return [_value(text, part) for text, part in zip(words, shape, strict=True)]


def word(value: object) -> str:
    """A value as people type it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value.hex() if isinstance(value, bytes) else str(value)


def _value(text: str, part: str) -> object:
    name, _, kind = part.partition(":")
    try:
        if kind == "bool":
            return (_YES | _NO)[text.lower()]
        if kind == "int":
            return int(text)
        return bytes.fromhex(text) if kind == "bytes" else text
    except (KeyError, ValueError):
        raise Fault(Kind.USAGE, f"{name} is {kind}, which {text!r} is not") from None
