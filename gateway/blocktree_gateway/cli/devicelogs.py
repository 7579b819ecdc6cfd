"""`bt device logs`: what a device noted."""

from typing import Any

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.output import print_json
from blocktree.cli.session import Session, run
from blocktree_gateway.cli.history import load_proof
from blocktree_gateway.cli.opening import open_device
from blocktree_gateway.messages import Lost, Note, Start
from blocktree_gateway.stream.columns import time_text
from blocktree_gateway.stream.proof import Told

_LEVELS = {1: "note", 2: "warning", 3: "error"}


@click.command("logs")
@click.argument("path")
@click.option("-n", "--lines", type=int, default=50, show_default=True, help="The newest so many.")
@address_option
@json_option
def command(path: str, lines: int, addresses: tuple[str, ...], *, as_json: bool) -> None:
    """Show what a device noted: starts, crashes of its app, readings that it had to drop.

    \b
    Example:
      bt device logs /home/sensors/attic
    """  # noqa: D301

    async def work(session: Session) -> list[dict[str, Any]]:
        opened = await open_device(session, path)
        proof = await load_proof(opened, None)
        rows = [row for told in proof.told if (row := _row(told)) is not None]
        return rows[-lines:]

    rows = run(work, addresses, leaderless=False)
    if as_json:
        print_json("device.logs", {"path": path, "lines": rows})
        return
    for row in rows:
        click.echo(f"{row['time'] or '-':<21}{row['level']:<8} {row['text']}")


def _row(told: Told) -> dict[str, Any] | None:
    match told.content:
        case Note():
            level, text = _LEVELS.get(told.content.level, "note"), told.content.text
        case Start():
            app = told.content.app or "no app"
            level, text = "start", f"boot {told.place[0]}, {app}"
        case Lost():
            lost = told.content
            text = (
                f"the buffer was full: boot {lost.first_boot} seq {lost.first_seq} to "
                f"boot {lost.last_boot} seq {lost.last_seq} were dropped"
            )
            level = "warning"
        case _:
            return None
    return {
        "time": time_text(told.time_ms),
        "level": level,
        "text": text,
        "boot": told.place[0],
        "seq": told.place[1],
    }
