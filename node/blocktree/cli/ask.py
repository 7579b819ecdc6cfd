"""`bt ask`: ask an actor something and print its answer."""

import click

from blocktree.cli.actorpaths import ASK_SECONDS, ActorPath, ask, described
from blocktree.cli.asking import address_option, json_option
from blocktree.cli.output import print_json, print_table
from blocktree.cli.places import here
from blocktree.cli.session import Session, run
from blocktree.services.speaking import plain_json


@click.command("ask")
@click.argument("path", metavar="PATH")
@click.argument("message", metavar="[MESSAGE]", required=False)
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@click.option("--timeout", default=ASK_SECONDS, metavar="SECONDS", help="Wait no longer.")
@json_option
@address_option
def command(
    path: str,
    message: str | None,
    fields: tuple[str, ...],
    addresses: tuple[str, ...],
    *,
    timeout: float,
    as_json: bool,
) -> None:
    """Ask an actor something and print its answer. Without a message: what it takes.

    \b
    Examples:
      bt ask /home/services/counter
      bt ask /home/services/counter Add amount=5
      bt ask /home/sensors/attic Read --json
    """  # noqa: D301
    target = ActorPath(path, here())

    async def work(session: Session) -> None:
        if message is None:
            await _describe(session, target, as_json=as_json)
            return
        said = await ask(session, target, message, fields, timeout)
        if as_json:
            print_json("answer", {"path": path, "answer": said.name, **_fields(said.fields)})
        else:
            click.echo(str(said))

    run(work, addresses, leaderless=False)


def _fields(fields: object) -> dict[str, object]:
    return {"fields": plain_json(fields)}


async def _describe(session: Session, target: ActorPath, *, as_json: bool) -> None:
    tree = await session.tree(target.path.place)
    found = await described(tree, target.to)
    if as_json:
        shapes = [
            {
                "name": shape.name,
                "taken": shape.taken,
                "fields": {field.name: field.kind for field in shape.fields},
                "about": shape.about,
            }
            for shape in found.shapes
        ]
        content = {"path": str(target), "actor": found.actor, "condition": found.condition}
        print_json("actor", {**content, "latest": found.latest, "messages": shapes})
        return
    click.echo(f"{target}  {found.actor}: {found.about}")
    for label, text in (("condition", found.condition), ("latest", found.latest)):
        if text:
            click.echo(f"  {label}: {text}")
    rows = [
        (
            shape.name,
            " ".join(
                f"{field.name}={field.kind}" if field.required else f"[{field.name}={field.kind}]"
                for field in shape.fields
            ),
            shape.about,
        )
        for shape in found.shapes
        if shape.taken
    ]
    print_table(("MESSAGE", "FIELDS", ""), rows)
