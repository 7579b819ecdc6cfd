"""`bt device pair`: make a device part of the tree, over a cable or by its setup code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path as FilePath

import click
import segno

from blocktree.cli.asking import address_option, no_input_option
from blocktree.cli.output import say
from blocktree.cli.places import here
from blocktree.cli.session import Session, run
from blocktree.cli.treepaths import TreePath
from blocktree.fault import Fault, Kind
from blocktree.names import Path
from blocktree_gateway.adopting import circle_of, new_adoption, settle
from blocktree_gateway.cli.gateways import Port
from blocktree_gateway.cli.opening import open_devices, place_text, target, tree_path
from blocktree_gateway.links.serialport import SerialPort
from blocktree_gateway.links.udp import open_udp
from blocktree_gateway.pairer import Adoption, Pairer
from blocktree_gateway.pairing import fingerprint, read_code, write_code
from blocktree_gateway.scanning import endpoint, everyone
from blocktree_gateway.tree.devices import Device


@click.command("pair")
@click.argument("where", metavar="PORT|ADDR|any")
@click.argument("path")
@click.option("--wifi", default="", metavar="NAME", help="The Wi-Fi network it is to use.")
@click.option(
    "--wifi-password-file",
    type=click.Path(path_type=FilePath, dir_okay=False),
    help="Read its password from this file (its first line).",
)
@click.option(
    "--code-file",
    type=click.Path(path_type=FilePath, dir_okay=False),
    help="Read the setup code from this file instead of asking for it.",
)
@click.option("--board", default="", help="What kind of board it is, if it does not say so.")
@click.option("--show-code", is_flag=True, help="Draw the setup code as a QR code, for a label.")
@address_option
@no_input_option
def command(
    *,
    where: str,
    path: str,
    wifi: str,
    wifi_password_file: FilePath | None,
    code_file: FilePath | None,
    board: str,
    addresses: tuple[str, ...],
    show_code: bool,
    no_input: bool,
) -> None:
    """Make a device part of the tree at PATH: new keys, a certificate, its place.

    Over a cable whoever holds it may. Over the network the setup code from the device's label is
    asked for, and the device listens for two minutes after it was switched on; `any` looks for it
    by broadcast. Until the last step the device stays what it was.

    \b
    Examples:
      bt device pair /dev/ttyACM0 /home/sensors/attic --wifi HomeNet
      bt device pair 192.168.1.77 /home/sensors/attic
      bt device pair any /home/sensors/attic
    """  # noqa: D301
    place = target(path)
    serial = where.startswith(("/", "./"))
    setup = None if serial else _setup_secret(code_file, no_input=no_input)
    if show_code and setup is not None:
        say(qr_text(write_code(setup)))
    network = (wifi, _password(wifi, wifi_password_file, no_input=no_input) if wifi else "")

    async def work(session: Session) -> Device:
        return await _pair(session, place, where, setup, network, board)

    with Port(here(), where) if serial else nullcontext():
        device = run(work, addresses, leaderless=False)
    text = place_text(place.place, place.names)
    click.echo(f"paired {text}   device {fingerprint(device.record.device)}")
    say("The device shows the same fingerprint where it shows anything.")
    say(f"Next: bt read {text}")


async def _pair(  # noqa: PLR0917 - what the command was told
    session: Session,
    place: TreePath,
    where: str,
    setup: bytes | None,
    wifi: tuple[str, str],
    board: str,
) -> Device:
    tree, devices = await open_devices(session, place.place)
    await devices.judge_place(b"", place.names)
    user = tree.client.user
    circle = circle_of(user.tree, await devices.gateways(), tree.client.members, user)
    path: Path = tree_path(tree, place.names)
    adoption, record = new_adoption(user, path, circle, board, wifi)
    pairer = Pairer(setup, alone=where != "any")
    say("Looking for the device …")
    async with _line(pairer, where, adoption):
        say(f"It is ours. Fingerprint {fingerprint(adoption.device)}")
        device = await settle(devices, place.names, record)
        await pairer.close()
    return device


@asynccontextmanager
async def _line(pairer: Pairer, where: str, adoption: Adoption) -> AsyncIterator[None]:
    """Adopt over the link that `where` means; it is open while the body runs."""
    if where.startswith(("/", "./")):
        line = SerialPort(where, pairer.heard)
        task = asyncio.get_running_loop().create_task(line.run())
        try:
            await pairer.adopt(adoption, line.send)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return
    targets = everyone() if where == "any" else [endpoint(where)]
    sock = await open_udp(pairer.heard, "", 0)
    try:
        await pairer.adopt(adoption, lambda probe: [sock.send(probe, each) for each in targets])
        yield
    finally:
        sock.close()


def _setup_secret(file: FilePath | None, *, no_input: bool) -> bytes:
    if file is not None:
        return read_code(_first_line(file))
    if no_input:
        raise Fault(Kind.USAGE, "the setup code is needed", next_step="give --code-file FILE")
    return read_code(str(click.prompt("Setup code from the label", err=True)))


def _password(wifi: str, file: FilePath | None, *, no_input: bool) -> str:
    if file is not None:
        return _first_line(file)
    if no_input:
        what = f"the password of {wifi} is needed"
        raise Fault(Kind.USAGE, what, next_step="give --wifi-password-file FILE")
    return str(click.prompt(f"Password for {wifi}", hide_input=True, default="", err=True))


def _first_line(file: FilePath) -> str:
    try:
        return file.read_text().splitlines()[0].strip()
    except (OSError, IndexError, UnicodeDecodeError) as cause:
        raise Fault(Kind.USAGE, "cannot be read, or is empty", path=str(file)) from cause


def qr_text(code: str) -> str:
    """A setup code as a QR code of half blocks, dark on light, with its text below."""
    rows = [bytearray(row) for row in segno.make(code, micro=False, error="m").matrix]
    width = len(rows[0]) + 4
    blank = bytearray(width)
    framed = [blank, blank, *(bytearray(2) + row + bytearray(2) for row in rows), blank, blank]
    if len(framed) % 2:
        framed.append(blank)
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}  # light is drawn
    lines = [
        "".join(blocks[top, below] for top, below in zip(upper, lower, strict=True))
        for upper, lower in zip(framed[::2], framed[1::2], strict=True)
    ]
    return "\n".join([*lines, code])
