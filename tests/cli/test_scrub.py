"""`bt scrub` on the tree of three nodes."""

import json

from cli.conftest import Shell


def test_a_scrub_of_all_nodes_reads_everything_and_finds_nothing(home: Shell) -> None:
    (home.folder / "big").write_bytes(bytes(range(256)) * 1000)
    home.ok("cp", "big", "/home/")
    said = json.loads(home.ok("scrub", "--json"))
    assert said["schema"] == "bt.scrub/1"
    assert len(said["nodes"]) == 3
    for node in said["nodes"]:
        assert (node["phase"], node["found"], node["left"]) == ("idle", 0, 0)
        assert node["rows"] > 0
        assert node["entries"] > 0
        assert node["ended"] >= node["began"] > 0
    status = json.loads(home.ok("status", "--json"))
    assert all(node["scrub_ended"] > 0 for node in status["nodes"])
    assert "just now" in home.ok("status")


def test_one_node_is_scrubbed_or_only_asked(home: Shell) -> None:
    first = json.loads(home.ok("status", "--json"))["nodes"][0]["path"]
    assert "COMPLETE" in home.ok("scrub", first)
    said = json.loads(home.ok("scrub", first.rpartition("/")[2], "--status", "--json"))
    assert [node["path"] for node in said["nodes"]] == [first]
    code, said_text = home.bt("scrub", "pi-99")
    assert code == 9
    assert "no such node" in said_text
