"""`bt device inspect`: everything known of one device."""

import time

import click

from blocktree.cli.asking import address_option, json_option
from blocktree.cli.output import print_json, size_text
from blocktree.cli.session import Session, run
from blocktree.fault import Fault
from blocktree_gateway.cli.devicels import Row, as_dict
from blocktree_gateway.cli.opening import ago_text, open_device
from blocktree_gateway.devicemessages import DeviceState, GetDevice
from blocktree_gateway.messages import AppStanding
from blocktree_gateway.pairing import fingerprint
from blocktree_gateway.stream.columns import read_column

_STANDING = {
    AppStanding.ON_TRIAL: "on trial",
    AppStanding.PROVEN: "proven",
    AppStanding.FALLEN_BACK: "fell back to the one before",
    AppStanding.NONE: "",
}


@click.command("inspect")
@click.argument("path")
@address_option
@json_option
def command(path: str, addresses: tuple[str, ...], *, as_json: bool) -> None:
    """Say everything known of a device: link, app, what it measures, what it can be told.

    \b
    Example:
      bt device inspect /home/sensors/attic
    """  # noqa: D301

    async def work(session: Session) -> Row:
        opened = await open_device(session, path)
        try:
            state: DeviceState | Fault = await opened.ask(GetDevice(), DeviceState, 3.0)
        except Fault as fault:
            state = fault
        return Row(opened.tree, opened.device, state)

    row = run(work, addresses, leaderless=False)
    if as_json:
        print_json("device.inspect", as_dict(row))
        return
    for name, value in _lines(row):
        click.echo(f"{name:<12} {value}")


def _lines(row: Row) -> list[tuple[str, str]]:
    record, state = row.device.record, row.state
    day = time.strftime("%Y-%m-%d", time.gmtime(record.paired_s))
    lines = [
        ("device", fingerprint(record.device)),
        ("state", row.word),
        ("paired", f"{day} by /{record.paired_by.split('/', 2)[2]}, keys of epoch {record.epoch}"),
    ]
    if record.pending is not None:
        lines.append(("new keys", f"epoch {record.pending.epoch} waits for the device"))
    if record.reason:
        lines.append(("revoked", record.reason))
    if isinstance(state, Fault):
        return [*lines, ("gateway", f"none answers: {state.what}")]
    return [*lines, *_live(state)]


def _live(state: DeviceState) -> list[tuple[str, str]]:
    app = " ".join([state.app or "none", _STANDING.get(AppStanding(state.app_state), "")]).strip()
    lines = [
        ("gateway", "/" + state.gateway.split("/", 2)[2]),
        ("link", f"{state.link} {state.where}" if state.link else "-"),
        ("heard", ago_text(state.heard_ms / 1000) if state.heard_ms >= 0 else "not yet"),
        ("board", state.board),
        ("runtime", state.runtime or "-"),
        ("app", f"{app}: {state.app_sentence}" if state.app_sentence else app),
        ("free memory", size_text(state.free_heap)),
        ("measures", ", ".join(read_column(text).head for text in state.columns) or "-"),
        ("commands", ", ".join(state.commands) or "-"),
        ("kept to", f"boot {state.kept_boot} seq {state.kept_seq}"),
    ]
    if state.queued:
        lines.append(("queued", f"{state.queued} commands wait for it"))
    if state.drops:
        lines.append(("dropped", f"{state.drops} packets that were not in order"))
    if state.trouble:
        lines.append(("trouble", state.trouble))
    return lines
