"""`bt device rotate-key`: new secrets for a device."""

import asyncio
import time
from dataclasses import replace

import click

from blocktree.cli.asking import address_option
from blocktree.cli.output import say
from blocktree.cli.session import Session, run
from blocktree_gateway.adopting import circle_of, rotation
from blocktree_gateway.cli.opening import open_device

_WAIT_SECONDS = 15.0
_POLL_SECONDS = 0.3


@click.command("rotate-key")
@click.argument("path")
@address_option
def command(path: str, addresses: tuple[str, ...]) -> None:
    """Give a device new secrets, sealed so that the gateway cannot read the new reading secret.

    A device that is away gets them when it is next here. All users of the tree can read what it
    sends from then on.

    \b
    Example:
      bt device rotate-key /home/sensors/attic
    """  # noqa: D301

    async def work(session: Session) -> tuple[int, bool]:
        opened = await open_device(session, path)
        client, devices = opened.tree.client, opened.devices
        circle = circle_of(client.user.tree, await devices.gateways(), client.members, client.user)
        record = rotation(opened.device.record, client.user.key, circle)
        await devices.save(replace(opened.device, record=record))
        epoch = record.epoch + 1
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
            now = await devices.at(opened.device.place)
            if now is not None and now.record.epoch == epoch:
                return epoch, True
        return epoch, False

    epoch, done = run(work, addresses, leaderless=False)
    if done:
        say(f"{path} has its new keys (epoch {epoch}).")
    else:
        say(f"{path} is away: it gets its new keys (epoch {epoch}) when it is next here.")
