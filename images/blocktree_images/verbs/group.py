"""`bt image`: the group; each verb is imported when it is called."""

import importlib

import click

_VERBS = {
    "build": "Build a board's image.",
    "flash": "Write an image onto a card, verify it, and tell it what it will be.",
    "customise": "Tell an image or card what it will be.",
    "verify": "Check an image, or a card against its image.",
    "boot": "Boot an image in QEMU.",
}


class _Verbs(click.Group):
    """The verbs, which have modules of their own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _VERBS:
            return None
        command = importlib.import_module(f"blocktree_images.verbs.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group("image", cls=_Verbs, short_help="Build, flash, verify and boot SD-card images.")
def command() -> None:
    """SD cards for the computers that keep the tree: build, flash, verify, boot.

    \b
    From nothing to a Raspberry Pi in the tree:
      bt image build --board rpi4                    an image, once
      bt image flash --board rpi4 --node /home/pi-1  write, verify, invite: one card each
      (insert the card, power on; it joins by itself)
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
