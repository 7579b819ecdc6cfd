"""Syncs by the kernel's asynchronous I/O, where it has that."""

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocktree.disk import KernelSync


@pytest.fixture
def kernel() -> Iterator[KernelSync]:
    made = KernelSync.open()
    if made is None:
        pytest.skip("this kernel cannot sync by itself")
    yield made
    made.close()


def wait(kernel: KernelSync) -> int | None:
    assert select.select([kernel.descriptor], [], [], 30)[0]
    return kernel.take()


def test_a_file_is_synced_again_and_again(kernel: KernelSync, tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb", buffering=0) as file:
        for number in range(20):
            file.write(bytes([number]) * 5000)
            assert kernel.submit(file.fileno())
            assert wait(kernel) == 0
    assert kernel.take() is None


def test_what_cannot_be_synced_is_told(kernel: KernelSync) -> None:
    reading, writing = os.pipe()
    try:
        assert not kernel.submit(writing) or wait(kernel) == errno.EINVAL
    finally:
        os.close(reading)
        os.close(writing)


def test_closing_waits_for_what_is_under_way(tmp_path: Path) -> None:
    made = KernelSync.open()
    if made is None:
        pytest.skip("this kernel cannot sync by itself")
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(bytes(1 << 20))
        assert made.submit(file.fileno())
        made.close()
