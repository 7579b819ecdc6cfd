"""`bt device flash`: put the device runtime on a board that runs stock MicroPython."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any, Final

import click

from blocktree.cli.output import say, size_text
from blocktree.cli.places import here
from blocktree.cli.progress import progress
from blocktree.fault import Fault, Kind
from blocktree_gateway.boards import boards_folder, describe
from blocktree_gateway.cli.gateways import Port
from blocktree_gateway.flashing import Board, Repl, compiled
from blocktree_gateway.folder import UDP_PORT

_FOLDER = "/device"  # not /bt: a folder of that name hides the package in /lib from its own board
_LINKS = [{"kind": "serial"}]
NETWORK_LINKS: Final[list[dict[str, Any]]] = [
    {"kind": "serial"},
    {"kind": "tls"},
    {"kind": "udp", "port": UDP_PORT},
]


@click.command("flash")
@click.argument("port")
@click.option("--app", default="climate", show_default=True, help="The app it comes with.")
@click.option("--board", "kind", default="", help="Its name in boards/; guessed from what it says.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="For the app.")
@click.option("--setup", default="", metavar="CODE", help="A setup code, to pair it by network.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be written.")
def command(
    port: str, app: str, kind: str, settings: tuple[str, ...], setup: str, *, dry_run: bool
) -> None:
    """Put the device runtime and an app on a board; only what changed is written.

    The board needs stock MicroPython 1.25 or newer (micropython.org/download): ESP32, ESP32-C3,
    Pico, Pico W or Pico 2 W. Its other files stay as they are.

    \b
    Examples:
      bt device flash /dev/ttyACM0
      bt device flash /dev/ttyACM0 --app switch
      bt device flash /dev/ttyUSB0 --set sensor=dht22 --set pin=4 --set every=10000
    """  # noqa: D301
    boards = boards_folder()
    app_folder = boards / "apps" / app
    if not app_folder.is_dir():
        names = ", ".join(sorted(each.name for each in (boards / "apps").iterdir()))
        raise Fault(Kind.NOT_FOUND, f"there is no app {app}", next_step=f"there are: {names}")
    with tempfile.TemporaryDirectory() as work, Port(here(), port), Repl(port) as repl:
        board = repl.board()
        board.judge()
        say(f"{board.machine}, MicroPython {'.'.join(map(str, board.version))}")
        described = describe(boards, kind, board.machine)
        config = _config(board, described, app, setup, settings)
        files = board_files(boards, app_folder, config, File(work))
        total = sum(map(len, files.values()))
        if dry_run:
            for path, content in files.items():
                click.echo(f"{path}  {size_text(len(content))}")
            return
        written = _put(repl, files)
        repl.run("import bt.device, bt.serial_link")
        repl.reset()
    say(f"{written} of {len(files)} files written ({size_text(total)} in all); the board restarts.")
    say(f"Next: bt device pair {port} /home/sensors/NAME")


def app_settings(pins: dict[str, Any], app: str, told: Sequence[str]) -> dict[str, Any]:
    """What the app is told: the board's pins, and then what the user said."""
    wired = {
        "climate": {**pins, "sensor": "simulated", "pin": pins.get("sensor")},
        "switch": {"pin": pins.get("led")},
        "button": {"pin": pins.get("button")},
    }
    made: dict[str, Any] = dict(wired.get(app, pins))
    for each in told:
        name, sign, value = each.partition("=")
        if not sign or not name:
            raise Fault(Kind.USAGE, f"{each!r} is not NAME=VALUE", next_step="--set every=10000")
        try:
            made[name] = json.loads(value)
        except json.JSONDecodeError:
            made[name] = value
    return made


def board_files(boards: File, app: File, config: bytes, work: File) -> dict[str, bytes]:
    """All that is put on a board, by path, in the order in which it is written: `main.py` last."""
    runtime = boards / "runtime"
    found = {f"/lib/bt/{name}": code for name, code in compiled(runtime / "bt", work)}
    for each in sorted(app.iterdir()):
        if each.is_file() and not each.name.startswith("."):
            found[f"{_FOLDER}/factory/{each.name}"] = each.read_bytes()
    found[f"{_FOLDER}/config.json"] = config
    found["/main.py"] = (runtime / "main.py").read_bytes()
    return found


def _put(repl: Repl, files: dict[str, bytes]) -> int:
    written = 0
    with progress("writing") as bar:
        for content in files.values():
            bar.found(len(content))
        for path, content in files.items():
            written += repl.put(path, content)
            bar.moved(len(content))
            bar.finished()
    return written


def _config(
    board: Board, described: dict[str, Any], app: str, setup: str, settings: Sequence[str]
) -> bytes:
    config: dict[str, object] = {
        "folder": _FOLDER,
        "board": described["board"]["name"],
        "buffer": described["limits"]["buffer"],
        "app": {"folder": f"{_FOLDER}/factory", "name": app},
        "settings": app_settings(described["pins"], app, settings),
        "links": NETWORK_LINKS if board.tls else _LINKS,
    }
    if setup:
        config["setup"] = setup
    return json.dumps(config, indent=1).encode()
