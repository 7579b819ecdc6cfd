"""`bt device flash`: put the device runtime on a board that runs stock MicroPython."""

import json
import tempfile
from pathlib import Path as File

import click

from blocktree.cli.output import say, size_text
from blocktree.cli.places import here
from blocktree.cli.progress import progress
from blocktree.fault import Fault, Kind
from blocktree_gateway.boards import boards_folder
from blocktree_gateway.cli.gateways import Port
from blocktree_gateway.flashing import Board, Repl, compiled

_LINKS = [{"kind": "serial"}]
_NETWORK_LINKS = [{"kind": "serial"}, {"kind": "tls"}, {"kind": "udp"}]


@click.command("flash")
@click.argument("port")
@click.option("--app", default="climate", show_default=True, help="The app it comes with.")
@click.option("--board", "kind", default="", help="Its name in boards/; guessed from what it says.")
@click.option("--setup", default="", metavar="CODE", help="A setup code, to pair it by network.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be written.")
def command(port: str, app: str, kind: str, setup: str, *, dry_run: bool) -> None:
    """Put the device runtime and an app on a board; only what changed is written.

    The board needs stock MicroPython 1.25 or newer (micropython.org/download): ESP32, ESP32-C3,
    Pico, Pico W or Pico 2 W. Its other files stay as they are.

    \b
    Examples:
      bt device flash /dev/ttyACM0
      bt device flash /dev/ttyACM0 --app switch
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
        files = dict(_files(boards, app_folder, File(work)))
        files["/bt/config.json"] = _config(board, kind, app, setup)
        files["/main.py"] = (boards / "runtime" / "main.py").read_bytes()
        total = sum(map(len, files.values()))
        if dry_run:
            for path, content in files.items():
                click.echo(f"{path}  {size_text(len(content))}")
            return
        written = _put(repl, files)
        repl.reset()
    say(f"{written} of {len(files)} files written ({size_text(total)} in all); the board restarts.")
    say(f"Next: bt device pair {port} /home/sensors/NAME")


def _files(boards: File, app: File, work: File) -> list[tuple[str, bytes]]:
    found = [(f"/lib/bt/{name}", code) for name, code in compiled(boards / "runtime" / "bt", work)]
    found += [
        (f"/bt/factory/{each.name}", each.read_bytes())
        for each in sorted(app.iterdir())
        if each.is_file() and not each.name.startswith(".")
    ]
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


def _config(board: Board, kind: str, app: str, setup: str) -> bytes:
    config: dict[str, object] = {
        "folder": "/bt",
        "board": (kind or board.machine.split(" ")[0].lower())[:16],
        "app": {"folder": "/bt/factory", "name": app},
        "settings": {"sensor": "simulated"} if app == "climate" else {},
        "links": _NETWORK_LINKS if board.tls else _LINKS,
    }
    if setup:
        config["setup"] = setup
    return json.dumps(config, indent=1).encode()
