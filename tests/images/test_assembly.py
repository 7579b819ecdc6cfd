"""An image of a tiny system: its layout, its files, its map; and the same bytes twice."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from blocktree.fault import Fault
from blocktree_images.build import bootfiles, manifest, overlay
from blocktree_images.build.assembly import assemble
from blocktree_images.build.boards import Board, load_board
from blocktree_images.build.filesystems import make_ext4, make_fat
from blocktree_images.build.layout import BOOT, DATA, IMAGE_BYTES, PARTITIONS, ROOT_A
from blocktree_images.build.mirror import Mirror
from blocktree_images.build.system import load_system
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.card.blockmap import BLOCK
from blocktree_images.card.provision import put_settings, read_file
from blocktree_images.card.settings import Settings, decode_settings

EPOCH = 1_790_000_000
MIRROR = Mirror("http://mirror.example/debian", "", Path("/keys.gpg"))


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mmdebstrap would make, in a few kilobytes."""
    path = tmp_path_factory.mktemp("rootfs") / "root.tar"
    files = {
        "boot/vmlinuz-6.12": b"kernel",
        "boot/initrd.img-6.12": b"initramfs",
        "usr/lib/linux-image-6.12/broadcom/bcm2837-rpi-3-b.dtb": b"tree",
        "usr/lib/linux-image-6.12/broadcom/bcm2837-rpi-cm3-io3.dtb": b"tree",
        "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
        "etc/group": b"root:x:0:\n",
        "etc/machine-id": b"litter\n",
        "etc/systemd/system/multi-user.target.wants/ssh.service": b"[Unit]\n",
        "usr/bin/thing": b"#!/bin/sh\n",
        "var/log/apt/history.log": b"litter\n",
    }
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o755, EPOCH - 9
            archive.addfile(entry, io.BytesIO(content))
    return path


def _assemble(toolbox: Toolbox, board: Board, rootfs: Path, folder: Path) -> Path:
    environment = folder / "environment" / "opt" / "blocktree" / "lib"
    environment.mkdir(parents=True)
    (environment / "module.py").write_text("x = 1\n")
    overlay.make_root(
        board,
        load_system(),
        MIRROR,
        rootfs=rootfs,
        environment=folder / "environment",
        epoch=EPOCH,
        archive=folder / "root.tar",
    )
    overlay.make_data(EPOCH, folder / "data.tar")
    for part, name in ((ROOT_A, "root"), (DATA, "data")):
        image = folder / f"{name}.ext4"
        archive = folder / f"{name}.tar"
        make_ext4(toolbox, board.name, part, epoch=EPOCH, archive=archive, image=image)
    firmware = folder / "firmware"
    for name in board.boot.firmware:
        (firmware / "usr/lib/raspi-firmware").mkdir(parents=True, exist_ok=True)
        (firmware / "usr/lib/raspi-firmware" / name).write_bytes(b"firmware")
    bootfiles.gather(board, rootfs, firmware, {"board": board.name}, folder / "boot")
    fat, image = folder / "boot.fat", folder / "x.img"
    make_fat(toolbox, board.name, epoch=EPOCH, content=folder / "boot", image=fat)
    blocks = assemble(
        toolbox,
        board.name,
        boot=fat,
        root=folder / "root.ext4",
        data=folder / "data.ext4",
        image=image,
    )
    (folder / "x.bmap").write_bytes(blocks.encode())
    end = BOOT.end // BLOCK
    inside = [(run.first, min(run.last + 1, end)) for run in blocks.runs if run.first < end]
    assert sum(last - first for first, last in inside) == end  # the whole FAT is written
    return image


@pytest.fixture(scope="module")
def image(toolbox: Toolbox, rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _assemble(toolbox, load_board("rpi3"), rootfs, tmp_path_factory.mktemp("image"))


def test_the_same_inputs_give_the_same_bytes(
    toolbox: Toolbox, rootfs: Path, image: Path, tmp_path: Path
) -> None:
    again = _assemble(toolbox, load_board("rpi3"), rootfs, tmp_path)
    same = subprocess.run(["cmp", str(image), str(again)], check=False)
    assert same.returncode == 0
    assert image.with_name("x.bmap").read_bytes() == again.with_name("x.bmap").read_bytes()


def test_the_layout_leaves_room_for_updates_and_growth(toolbox: Toolbox, image: Path) -> None:
    assert image.stat().st_size == IMAGE_BYTES < 3_700_000_000  # a 4 GB card holds it
    table = json.loads(toolbox.run("sfdisk", "--json", image))["partitiontable"]
    found = [(p["start"] * 512, p["size"] * 512, p["type"]) for p in table["partitions"]]
    assert table["label"] == "dos"
    assert found == [(part.start, part.size, part.kind) for part in PARTITIONS]
    assert all(part.start % (4 << 20) == 0 for part in PARTITIONS)


def test_the_boot_partition_starts_slot_a_and_tries_slot_b(image: Path) -> None:
    assert b"os_prefix=a/" in read_file(image, "config.txt")
    assert b"os_prefix=b/" in read_file(image, "tryboot.txt")
    assert read_file(image, "a/vmlinuz") == b"kernel"
    assert read_file(image, "a/bcm2837-rpi-3-b.dtb") == b"tree"
    assert read_file(image, "start.elf") == b"firmware"
    assert b"console=ttyS1,115200" in read_file(image, "a/cmdline.txt")


def test_the_root_holds_ours_over_debians_without_its_litter(toolbox: Toolbox, image: Path) -> None:
    root = image.with_name("root.ext4")

    def read(path: str) -> str:
        return toolbox.run("debugfs", "-R", f"cat {path}", root).split("\n", 1)[1]

    assert "blocktree:x:900:900" in read("/etc/passwd")
    assert read("/etc/machine-id") == ""
    assert "mirror.example" in read("/etc/apt/sources.list")
    wants = toolbox.run("debugfs", "-R", "ls /etc/systemd/system/multi-user.target.wants", root)
    assert "blocktree.service" in wants
    assert " ssh.service" not in wants
    assert "history.log" not in toolbox.run("debugfs", "-R", "ls /var/log/apt", root)
    told = toolbox.run("debugfs", "-R", "stat /opt/blocktree/bin/bt", root)
    assert "Mode:  0755" in told
    toolbox.run("e2fsck", "-f", "-n", root)
    toolbox.run("e2fsck", "-f", "-n", image.with_name("data.ext4"))


def test_an_image_is_customised_in_place(image: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
    for settings in (Settings("pi-2", timezone="Etc/UTC"), Settings("pi-3", clock=5)):
        put_settings(copy, settings)
        assert decode_settings(read_file(copy, "blocktree.toml")) == settings
    assert read_file(copy, "a/vmlinuz") == b"kernel"


@pytest.mark.parametrize("content", [b"", b"\0" * 8192, b"MZ" + b"\0" * 508 + b"\x55\xaa"])
def test_what_is_none_of_our_images_is_not_customised(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.img"
    path.write_bytes(content)
    with pytest.raises(Fault, match="not an image or card of ours"):
        put_settings(path, Settings("pi-2"))
    assert path.read_bytes() == content


def test_a_missing_device_tree_is_named(rootfs: Path, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no such device tree"):
        bootfiles.gather(load_board("rpi4"), rootfs, None, {}, tmp_path / "boot")


def test_imager_and_sbom_have_the_fields_that_their_schemas_demand() -> None:
    board = load_board("rpi4")
    product = manifest.Product("x.img.zst", 5, "a" * 64, 9, "b" * 64)
    told = manifest.imager_entry(board, EPOCH, product, "https://images.example")
    (entry,) = told["os_list"]
    demanded = {"name", "description", "icon", "url", "extract_size", "extract_sha256"}
    demanded |= {"image_download_size", "release_date", "devices"}
    assert demanded <= entry.keys()
    assert entry["init_format"] == "rpi-preseed"
    assert entry["url"] == "https://images.example/x.img.zst"
    assert entry["devices"] == ["pi4-64bit"]
    wheel = manifest.read_wheel(Path("zeroconf-0.154.0-cp313-cp313-linux_aarch64.whl"), "c" * 64)
    parts = manifest.sbom(board, EPOCH, [], [wheel])
    assert parts["spdxVersion"] == "SPDX-2.3"
    demanded = {"SPDXID", "name", "versionInfo", "downloadLocation", "checksums"}
    assert demanded <= parts["packages"][0].keys()
    assert parts == manifest.sbom(board, EPOCH, [], [wheel])
