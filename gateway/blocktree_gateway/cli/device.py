"""`bt device`: find, flash, pair, list, move, take out the devices of a tree."""

import importlib

import click

_VERBS = {
    "scan": "Look for boards on this machine's serial ports, and devices that wait.",
    "flash": "Put the device runtime on a board.",
    "pair": "Make a device part of the tree.",
    "ls": "List devices.",
    "inspect": "Say everything known of a device.",
    "rename": "Move a device to another path, with its history.",
    "revoke": "Take a device out, whether it is on or off.",
    "rotate-key": "Give a device new secrets.",
    "logs": "Show what a device noted.",
}


class _Verbs(click.Group):
    """Each verb is a module that is loaded when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _VERBS:
            return None
        module = f"blocktree_gateway.cli.device{cmd_name.replace('-', '')}"
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group("device", cls=_Verbs)
def command() -> None:
    """Sensors, lamps and buttons: small boards that are actors in the tree.

    \b
    From a blank board to a reading:
      bt device scan
      bt device flash /dev/ttyACM0
      bt device pair /dev/ttyACM0 /home/sensors/attic
      bt app push boards/apps/climate /home/sensors/attic
      bt read /home/sensors/attic --follow
    """  # noqa: D301
