"""`bt stat`: everything known of a file, down to who signed it."""

from collections.abc import Sequence
from typing import Any

import click

from blocktree.caps import Right, load_access
from blocktree.cli.asking import address_option, json_option
from blocktree.cli.describing import (
    attributes_json,
    group_name,
    kind_word,
    mode_text,
    name_json,
    time_json,
    time_text,
    user_name,
)
from blocktree.cli.output import print_json, size_text
from blocktree.cli.places import here
from blocktree.cli.session import OpenTree, Session, each, run
from blocktree.cli.treepaths import TreePath, parse_tree_path, printable
from blocktree.cli.trees import find
from blocktree.files.volume import Attributes, NodeKind
from blocktree.names import Aliases, FileId, PrincipalId
from blocktree.sectors.header import Header, load_header
from blocktree.sectors.pages import FANOUT, HOLE, Tree
from blocktree.store.messages import GetHistory, History

_CIPHERS = {0: "none (public)", 1: "AES-256-GCM", 2: "ChaCha20-Poly1305"}
_HOLES_MAX = 1 << 14  # sectors that are looked at for holes: a hundred pages
_XATTR_SHOWN = 64  # bytes of a value


@click.command("stat")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@address_option
@json_option
def command(paths: tuple[str, ...], addresses: tuple[str, ...], *, as_json: bool) -> int:
    """Say everything known of files: attributes, version, writer, blobs, history, rights.

    A link is described itself. What is said was verified: the writer's signature, his certificates
    and his right to write there.

    \b
    Examples:
      bt stat /home/notes/shopping.txt
      bt stat --json /home/photos | jq '.files[0].access'
    """  # noqa: D301
    places = here()
    wanted = [parse_tree_path(path, places) for path in paths]
    aliases = places.aliases()
    found: list[tuple[Attributes, dict[str, Any]]] = []

    async def work(session: Session) -> int:
        async def one(path: TreePath) -> None:
            opened = await session.tree(path.place)
            found.append(await describe(opened, path, aliases))

        return await each(wanted, one)

    code = run(work, addresses)
    if as_json:
        print_json("stat", {"files": [file for _, file in found]})
    else:
        for number, (attributes, file) in enumerate(found):
            _print(attributes, file, gap=number > 0)
    return code


async def describe(
    opened: OpenTree, path: TreePath, aliases: Aliases
) -> tuple[Attributes, dict[str, Any]]:
    """Its attributes, and all that is known as JSON has it.

    Raises:
        Fault: NOT_FOUND; DAMAGED or DENIED if the header does not verify.
    """
    files = opened.files
    attributes = (await find(files, path, follow=False)).attributes
    core = files.core
    node = core.nodes.at(attributes.ino)
    header = await core.opened.header(node)
    known = core.headers.peek(header.file)
    who = _Writers(opened, aliases)
    file = {"path": str(path), **name_json(path.leaf), **attributes_json(attributes)}
    file |= {"user": user_name(attributes.uid), "group": group_name(attributes.gid)}
    file |= {
        "file": header.file.hex(),
        "version": header.version,
        "writer": who.path(header.writer),
        "writer_key": header.writer.hex(),
        "cipher": _CIPHERS[header.cipher],
        "key_epoch": header.epoch,
        "header": known.signed.digest.hex() if known is not None else "",
        "root": bytes(header.root).hex(),
        "sector_size": header.sector_size,
        **await _blobs(opened, header),
        "history": await _history(opened, header.file, who),
        "xattrs": await _xattrs(opened, attributes),
    }
    if attributes.kind is NodeKind.SYMLINK:
        file["target"] = printable(await files.readlink(attributes.ino))
    if header.access:
        file["access"] = _access(header, who)
    return attributes, file


class _Writers:
    """Who is behind a key, by the tree's list of members."""

    def __init__(self, opened: OpenTree, aliases: Aliases) -> None:
        self._paths = {member.principal: member.path for member in opened.client.members}
        self.aliases = aliases

    def path(self, principal: PrincipalId) -> str:
        """The path of a principal, or the beginning of its id for one that left."""
        path = self._paths.get(principal)
        return f"key {principal.hex()[:16]}…" if path is None else self.aliases.display(path)


async def _blobs(opened: OpenTree, header: Header) -> dict[str, Any]:
    """How the content is stored: in the header, or in sealed sectors below hash pages."""
    if header.inline or not header.root:
        return {"inline": bool(header.inline), "sectors": 0, "hash_pages": 0}
    unit = header.sector_size
    count = stored = -(-header.size // unit)
    if header.kind is NodeKind.DIRECTORY:  # its buckets, however many the entries take
        return {"inline": False}
    if count <= _HOLES_MAX:
        tree = Tree(header.root, count)
        digests = await opened.files.core.engine.trees.digests(tree, 0, count)
        stored = count - digests.count(HOLE)
    return {"inline": False, "sectors": stored, "hash_pages": _pages(count)}


def _pages(count: int) -> int:
    """Hash pages above so many sectors, if none is a hole."""
    pages = 0
    while count > 1:
        count = -(-count // FANOUT)
        pages += count
    return pages


async def _history(opened: OpenTree, file: FileId, who: _Writers) -> list[dict[str, Any]]:
    """Earlier versions that are kept, newest first."""
    answer = await opened.files.core.service.ask(GetHistory(file), History)
    headers = [load_header(encoded).header for encoded in answer.headers]
    return [
        {
            "version": header.version,
            "size": header.size,
            "mtime": time_json(header.mtime_ns),
            "writer": who.path(header.writer),
        }
        for header in headers
    ]


async def _xattrs(opened: OpenTree, attributes: Attributes) -> dict[str, str]:
    files = opened.files
    names = await files.listxattr(attributes.ino)
    return {
        printable(name): printable((await files.getxattr(attributes.ino, name))[:_XATTR_SHOWN])
        for name in names
    }


def _access(header: Header, who: _Writers) -> dict[str, Any]:
    """Who may do what in a directory that says so itself."""
    access = load_access(header.access)
    grants = []
    for grant in access.grants:
        to = who.aliases.display(grant.path) if grant.path else None
        if grant.principal is not None:
            to = who.path(grant.principal)
        grants.append({"to": to, "rights": _rights(grant.rights)})
    readers = sorted(who.path(principal) for principal in access.readers)
    return {
        "version": access.version,
        "signer": who.path(access.signer),
        "grants": grants,
        "readers": readers,
    }


def _rights(rights: int) -> list[str]:
    return [str(right.name).lower() for right in Right(rights)]


def _print(attributes: Attributes, file: dict[str, Any], *, gap: bool) -> None:
    target = f" -> {file['target']}" if "target" in file else ""
    click.echo(("\n" if gap else "") + file["path"] + target)
    for label, text in _rows(attributes, file):
        click.echo(f"  {label:<10}{text}".rstrip())


def _rows(attributes: Attributes, file: dict[str, Any]) -> Sequence[tuple[str, str]]:
    size = f"{attributes.size:,} bytes"
    if attributes.size >= 1024:
        size += f" ({size_text(attributes.size)})"
    rows = [
        ("kind", kind_word(attributes.kind)),
        ("size", size),
        ("mode", f"{mode_text(attributes)} ({attributes.mode:04o})"),
        ("owner", f"{file['user']}:{file['group']} ({attributes.uid}:{attributes.gid})"),
        ("links", str(attributes.links)),
        ("modified", time_text(attributes.mtime_ns, seconds=True)),
        ("changed", time_text(attributes.ctime_ns, seconds=True)),
        ("version", _version_text(file)),
        ("writer", f"{file['writer']}, signature and rights verified"),
        ("stored", _stored_text(file)),
        ("sealed", f"{file['cipher']}, key epoch {file['key_epoch']}"),
        ("header", file["header"]),
        ("root", file["root"] or "none"),
        ("file", f"{file['file']}, inode {attributes.ino}"),
    ]
    rows += [("xattr", f"{name} = {value}") for name, value in file["xattrs"].items()]
    if "access" in file:
        rows += _access_rows(file["access"])
    return rows


def _version_text(file: dict[str, Any]) -> str:
    kept = len(file["history"])
    return f"{file['version']}, {kept} earlier kept" if kept else str(file["version"])


def _stored_text(file: dict[str, Any]) -> str:
    if file["inline"]:
        return "in the header"
    if "sectors" not in file:
        return "in buckets of its own"
    if not file["sectors"]:
        return "nothing"
    blobs = file["sectors"] + file["hash_pages"]
    unit = size_text(file["sector_size"])
    return f"{blobs:,} blobs: sectors {file['sectors']:,} of {unit}, pages {file['hash_pages']:,}"


def _access_rows(access: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("access", f"version {access['version']}, signed by {access['signer']}")]
    rows += [("", f"{grant['to']}: {' '.join(grant['rights'])}") for grant in access["grants"]]
    return [*rows, ("", f"readable by {', '.join(access['readers'])}")]
