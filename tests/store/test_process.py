"""A node as a process of its own: it starts, says so, stops on SIGTERM, and comes back."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path as File

from blocktree.store.folder import NodeFolder, Settings
from store.world import free_port, make_genesis, make_ticket, make_tree


def start(folder: File) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "blocktree.node", str(folder)], stderr=subprocess.PIPE, text=True
    )


def ready(folder: File, process: subprocess.Popen[str]) -> dict[str, object]:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            found = json.loads((folder / "ready.json").read_text())
        except FileNotFoundError:
            time.sleep(0.02)
            continue
        if found["pid"] == process.pid:
            return dict(found)
    raise AssertionError(process.communicate()[1])


def test_a_node_process_starts_stops_and_starts_again(tmp_path: File) -> None:
    folder = tmp_path / "pi-1"
    ticket = make_ticket("pi-1", genesis=make_genesis(make_tree()))
    NodeFolder(folder).invite(ticket, Settings("127.0.0.1", free_port(), discover=False))
    ports = []
    for _ in range(2):
        process = start(folder)
        ports.append(ready(folder, process)["port"])
        end = time.monotonic() + 20
        while (folder / "ticket").exists() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
        assert process.returncode == 0, told
        assert "Traceback" not in told
        assert not (folder / "ready.json").exists()
        assert not (folder / "ticket").exists()
    assert ports[0] == ports[1]
    assert (folder / "credential").stat().st_mode & 0o077 == 0


def test_a_folder_without_a_node_is_told_in_a_sentence(tmp_path: File) -> None:
    process = start(tmp_path)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "neither a node nor an invitation" in told
    assert "Traceback" not in told
