"""The bytes of the FUSE protocol: sizes as the kernel has them, negotiation, the errno table."""

import errno
import shutil
import subprocess
from pathlib import Path
from struct import Struct

import pytest

from blocktree.fault import Kind
from blocktree.mount import protocol
from blocktree.mount.errnos import ERRNOS, Refused
from blocktree.mount.negotiation import negotiate
from blocktree.mount.protocol import INIT_IN, INIT_OUT, WANTED, Init

STRUCTS = {
    "fuse_in_header": protocol.IN_HEAD,
    "fuse_out_header": protocol.OUT_HEAD,
    "fuse_init_out": protocol.INIT_OUT,
    "fuse_entry_out": protocol.ENTRY,
    "fuse_attr_out": protocol.ATTRIBUTES,
    "fuse_open_in": protocol.OPEN_IN,
    "fuse_open_out": protocol.OPEN_OUT,
    "fuse_create_in": protocol.CREATE_IN,
    "fuse_mknod_in": protocol.MKNOD_IN,
    "fuse_mkdir_in": protocol.MKDIR_IN,
    "fuse_rename_in": protocol.RENAME_IN,
    "fuse_rename2_in": protocol.RENAME2_IN,
    "fuse_link_in": protocol.LINK_IN,
    "fuse_setattr_in": protocol.SETATTR_IN,
    "fuse_read_in": protocol.READ_IN,
    "fuse_write_in": protocol.WRITE_IN,
    "fuse_write_out": protocol.WRITE_OUT,
    "fuse_release_in": protocol.RELEASE_IN,
    "fuse_flush_in": protocol.FLUSH_IN,
    "fuse_fsync_in": protocol.FSYNC_IN,
    "fuse_statfs_out": protocol.STATFS_OUT,
    "fuse_getxattr_in": protocol.GETXATTR_IN,
    "fuse_getxattr_out": protocol.GETXATTR_OUT,
    "fuse_lk_in": protocol.LK_IN,
    "fuse_lk_out": protocol.LK_OUT,
    "fuse_interrupt_in": protocol.INTERRUPT_IN,
    "fuse_forget_in": protocol.FORGET_IN,
    "fuse_batch_forget_in": protocol.BATCH_FORGET_IN,
    "fuse_forget_one": protocol.FORGET_ONE,
    "fuse_fallocate_in": protocol.FALLOCATE_IN,
    "fuse_dirent": protocol.DIRENT,
    "fuse_notify_inval_inode_out": protocol.INVAL_INODE_OUT,
    "fuse_notify_inval_entry_out": protocol.INVAL_ENTRY_OUT,
}
SIZES = (40, 16, 64, 128, 104, 8, 16, 16, 16, 8, 8, 16, 8, 88, 40, 40, 8, 24, 24, 16, 80, 8, 8)
MORE_SIZES = (48, 24, 8, 8, 8, 16, 32, 24, 24, 16)


@pytest.mark.parametrize(("name", "size"), list(zip(STRUCTS, SIZES + MORE_SIZES, strict=True)))
def test_structs_have_the_kernels_sizes(name: str, size: int) -> None:
    assert STRUCTS[name].size == size


def test_sizes_agree_with_the_installed_header(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/linux/fuse.h").exists():
        pytest.skip("no C compiler or kernel header here")
    lines = [f'printf("%zu\\n", sizeof(struct {name}));' for name in STRUCTS]
    source = "#include <stdio.h>\n#include <linux/fuse.h>\nint main(void) {" + "".join(lines) + "}"
    (tmp_path / "sizes.c").write_text(source)
    subprocess.run([compiler, "-o", tmp_path / "sizes", tmp_path / "sizes.c"], check=True)
    said = subprocess.run([tmp_path / "sizes"], check=True, capture_output=True, text=True).stdout
    assert [int(line) for line in said.split()] == [struct.size for struct in STRUCTS.values()]


def test_every_kind_of_fault_has_its_errno() -> None:
    assert set(ERRNOS) == set(Kind)
    assert all(code in errno.errorcode for code in ERRNOS.values())


def _init(minor: int, flags: int, major: int = 7) -> memoryview:
    low, high = flags & 0xFFFFFFFF, flags >> 32
    return memoryview(INIT_IN.pack(major, minor, 131072, low) + Struct("=I44x").pack(high))


def test_only_what_the_kernel_offers_is_taken() -> None:
    offered = Init.ASYNC_READ | Init.MAX_PAGES | Init.HANDLE_KILLPRIV | 1 << 8 | Init.INIT_EXT
    terms, reply = negotiate(_init(45, offered))
    assert terms is not None
    assert terms.minor == 45
    assert terms.epochs
    fields = INIT_OUT.unpack(reply)
    assert fields[:3] == (7, 45, 131072)
    assert fields[3] == offered & ~(1 << 8)
    assert (fields[6], fields[8]) == (1 << 20, 256)


def test_the_second_version_of_killpriv_is_preferred() -> None:
    terms, _ = negotiate(_init(36, int(WANTED)))
    assert terms is not None
    assert Init.HANDLE_KILLPRIV_V2 in terms.flags
    assert Init.HANDLE_KILLPRIV not in terms.flags
    assert not terms.epochs


def test_a_kernel_of_the_future_is_asked_to_speak_version_seven() -> None:
    terms, reply = negotiate(_init(0, 0, major=8))
    assert terms is None
    assert INIT_OUT.unpack(reply)[0] == 7


@pytest.mark.parametrize(("major", "minor"), [(7, 30), (6, 45)])
def test_an_old_kernel_is_refused(major: int, minor: int) -> None:
    with pytest.raises(Refused) as refused:
        negotiate(_init(minor, 0, major))
    assert refused.value.code == errno.EPROTO
