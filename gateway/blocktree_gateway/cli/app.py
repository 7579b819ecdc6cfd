"""`bt app`: put an app on a device, over the air."""

from pathlib import Path as FilePath

import click

from blocktree.cli.asking import address_option
from blocktree.cli.output import duration_text, say
from blocktree.cli.session import Session, run
from blocktree.fault import Fault, Kind
from blocktree_gateway.appfile import read_folder, unpack_app
from blocktree_gateway.cli.appcontract import contract_table
from blocktree_gateway.cli.opening import open_device
from blocktree_gateway.devicemessages import PushApp, Pushed

_PATIENCE_S = 300.0


@click.group("app")
def command() -> None:
    """Apps of devices: folders with an app.py, pushed over the air."""


@command.command("push")
@click.argument("folder", type=click.Path(path_type=FilePath, file_okay=False))
@click.argument("path")
@click.option("--name", default="", help="What the app is called; the folder's name otherwise.")
@click.option("--role", default="", help="The role of contract.py that it plays (device).")
@address_option
def push(folder: FilePath, path: str, name: str, role: str, addresses: tuple[str, ...]) -> None:
    """Put the app in FOLDER on a device.

    A contract.py beside it is checked first, and the device holds itself to it. The device keeps
    the app that it had, and runs the new one on trial: after three crashes it falls back by itself.

    \b
    Examples:
      bt app push boards/apps/climate /home/sensors/attic
      bt app push ./blinds /home/blinds --role blinds
    """  # noqa: D301
    content = read_folder(folder, contract_table(folder, role))
    called = (name or folder.resolve().name)[:32]

    async def work(session: Session) -> Pushed:
        opened = await open_device(session, path)
        kept = (*opened.device.place, b"app")
        pushed = await opened.ask(
            PushApp(called, opened.vouch(content), content), Pushed, _PATIENCE_S
        )
        if not pushed.kind:
            for member, data in unpack_app(content).items():
                await opened.devices.files.write((*kept, member.encode()), data)
        return pushed

    pushed = run(work, addresses, leaderless=False)
    if pushed.kind:
        raise Fault(Kind(pushed.kind), f"the device refused the app: {pushed.sentence}", path=path)
    say(
        f"{called} ({len(content):,} bytes) is on {path} in {duration_text(pushed.took_ms / 1000)},"
    )
    say("on trial for a minute; the app before is kept, and comes back after three crashes.")
    say(f"Next: bt read {path} --follow")
