"""What lies beside an image: a manifest with every version and hash, an SBOM, Imager's entry.

SBOM: SPDX 2.3 in JSON. Imager: the `*.rpi-imager-manifest` that Raspberry Pi Imager 2 opens, whose
`init_format` lets it write `rpi-preseed.toml`, which the first start reads like our own file.
"""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocktree import __version__
from blocktree_images.build.boards import Board
from blocktree_images.build.debs import Deb
from blocktree_images.build.layout import identity

SCHEMA = "blocktree.image/1"
_DEVICES = {
    "pi3-64bit": "Raspberry Pi 3 and Zero 2 W",
    "pi4-64bit": "Raspberry Pi 4",
    "pi5-64bit": "Raspberry Pi 5",
}


@dataclass(frozen=True, slots=True)
class Wheel:
    """One Python package of the image."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Product:
    """An image as it was made.

    Args:
        file: its compressed file's name.
        size: of that file.
        sha256: of that file.
        image_bytes: of the image itself.
        image_sha256: of the image itself.
    """

    file: str
    size: int
    sha256: str
    image_bytes: int
    image_sha256: str


def read_wheel(path: Path, sha256: str) -> Wheel:
    """What a wheel's file name tells (PEP 427)."""
    name, version = path.name.split("-")[:2]
    return Wheel(name, version, sha256)


def manifest(
    board: Board,
    epoch: int,
    product: Product,
    *,
    bmap_sha256: str,
    debs: Sequence[Deb],
    wheels: Sequence[Wheel],
    steps: dict[str, str],
) -> dict[str, Any]:
    """The manifest: everything that decided the bytes, and what they are."""
    return {
        "schema": SCHEMA,
        "board": board.name,
        "title": board.title,
        "version": __version__,
        "date": _date(epoch),
        "source_date_epoch": epoch,
        "image": {
            "file": product.file,
            "size": product.size,
            "sha256": product.sha256,
            "raw_size": product.image_bytes,
            "raw_sha256": product.image_sha256,
        },
        "bmap": {"file": f"{_stem(product.file)}.bmap", "sha256": bmap_sha256},
        "steps": steps,
        "debian": [
            {"name": deb.name, "version": deb.version, "sha256": deb.sha256} for deb in debs
        ],
        "python": [
            {"name": one.name, "version": one.version, "sha256": one.sha256} for one in wheels
        ],
    }


def sbom(board: Board, epoch: int, debs: Sequence[Deb], wheels: Sequence[Wheel]) -> dict[str, Any]:
    """The image's parts, as SPDX 2.3."""
    packages = [
        _package("deb", deb.name, deb.version, deb.sha256, _deb_url(board, deb)) for deb in debs
    ]
    packages += [
        _package("wheel", one.name, one.version, one.sha256, f"pkg:pypi/{one.name}@{one.version}")
        for one in wheels
    ]
    unique = identity(board.name, str(epoch), json.dumps(packages, sort_keys=True))
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"blocktree-{__version__}-{board.name}",
        "documentNamespace": f"urn:uuid:{unique}",
        "creationInfo": {
            "created": f"{_date(epoch)}T00:00:00Z",
            "creators": [f"Tool: blocktree-{__version__}"],
        },
        "packages": packages,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": package["SPDXID"],
            }
            for package in packages
        ],
    }


def imager_entry(board: Board, epoch: int, product: Product, where: str) -> dict[str, Any]:
    """What Raspberry Pi Imager opens; `where` is the address of the folder the image is in."""
    entry = {
        "name": f"Blocktree {__version__}",
        "description": f"Keeps a Blocktree. For {board.title}.",
        "icon": "",
        "url": f"{where}/{product.file}",
        "bmap_url": f"{where}/{_stem(product.file)}.bmap",
        "extract_size": product.image_bytes,
        "extract_sha256": product.image_sha256,
        "image_download_size": product.size,
        "image_download_sha256": product.sha256,
        "release_date": _date(epoch),
        "init_format": "rpi-preseed",
        "architecture": "armv8",
        "devices": list(board.imager.devices),
    }
    devices = [
        {"name": _DEVICES.get(tag, tag), "tags": [tag], "matching_type": "inclusive"}
        for tag in board.imager.devices
    ]
    return {"imager": {"devices": devices}, "os_list": [entry]}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write it as every other JSON file here."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _package(kind: str, name: str, version: str, sha256: str, url: str) -> dict[str, Any]:
    letters = "".join(c if c.isalnum() or c in ".-" else "-" for c in f"{kind}-{name}")
    return {
        "SPDXID": f"SPDXRef-{letters}",
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": sha256}],
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": url,
            }
        ],
    }


def _deb_url(board: Board, deb: Deb) -> str:
    return f"pkg:deb/debian/{deb.name}@{deb.version}?arch={deb.architecture}&distro={board.suite}"


def _stem(file: str) -> str:
    return file.removesuffix(".zst").removesuffix(".xz").removesuffix(".img")


def _date(epoch: int) -> str:
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC).date().isoformat()
