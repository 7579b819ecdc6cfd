"""The first start, on a folder that stands in for the board: settings, ticket, status, erasing."""

import random
import time
from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree.keys import Credential, MemberKind, Ticket, encode_ticket, new_ticket, new_tree
from blocktree.names import Path as TreePath
from blocktree.store.folder import NodeFolder
from blocktree_images.card.settings import Settings, Wifi
from blocktree_images.guest.applying import apply, supplicant_text
from blocktree_images.guest.card import Card
from blocktree_images.guest.condition import (
    Condition,
    Network,
    last_complaint,
    memory_text,
    wifi_refused,
    wifi_state,
)
from blocktree_images.guest.joining import (
    has_joined,
    keep_settings,
    kept_settings,
    look,
    prepare,
)
from blocktree_images.guest.place import Place
from blocktree_images.guest.settling import merged

NOW = int(time.time())
ONLINE = Network(("192.168.1.41",), cable=True)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("boot/firmware", "data/settings", "data/blocktree", "etc", "run"):
        (tmp_path / name).mkdir(parents=True)
    return Place(tmp_path)


@pytest.fixture(scope="module")
def owner() -> Credential:
    draw = random.Random(1).randbytes
    return new_tree("home", "anna", now=NOW, passphrase="secret", draw=draw, cost=4).owner


def _ticket(owner: Credential, name: str, seed: int = 2) -> Ticket:
    path = TreePath(f"/{owner.tree}/{name}")
    draw = random.Random(seed).randbytes
    return new_ticket(owner, MemberKind.NODE, path, now=NOW, draw=draw)


def _settings(owner: Credential, name: str, seed: int = 2) -> Settings:
    return Settings(ticket=encode_ticket(_ticket(owner, name, seed)), addresses=("10.0.2.2:7401",))


def test_a_ticket_becomes_the_directory_of_a_node(place: Place, owner: Credential) -> None:
    prepare(_settings(owner, "pi-2"), place)
    node = NodeFolder(place.current)
    assert place.current.resolve().name == "pi-2"
    assert node.settings().seeds == ("10.0.2.2:7401",)
    assert node.settings().discover
    assert node.credential().path.endswith("/pi-2")  # its own key, made here
    assert not has_joined(place)
    node.spent()
    assert has_joined(place)


def test_the_same_card_twice_keeps_the_key_that_was_made(place: Place, owner: Credential) -> None:
    prepare(_settings(owner, "pi-2"), place)
    first = NodeFolder(place.current).credential().principal
    prepare(_settings(owner, "pi-2"), place)
    assert NodeFolder(place.current).credential().principal == first


def test_a_new_ticket_replaces_one_that_was_never_spent(place: Place, owner: Credential) -> None:
    prepare(_settings(owner, "pi-2"), place)
    first = NodeFolder(place.current).credential().principal
    prepare(_settings(owner, "pi-2", seed=3), place)
    assert NodeFolder(place.current).credential().principal != first
    prepare(_settings(owner, "pi-3", seed=4), place)
    assert place.current.resolve().name == "pi-3"


def test_a_board_that_belongs_does_not_become_another_node(place: Place, owner: Credential) -> None:
    prepare(_settings(owner, "pi-2"), place)
    node = NodeFolder(place.current)
    mine = node.credential().principal
    node.spent()
    with pytest.raises(Fault, match="pi-2 already") as caught:
        prepare(_settings(owner, "pi-3", seed=4), place)
    assert caught.value.kind is Kind.CONFLICT
    prepare(_settings(owner, "pi-2", seed=5), place)  # its own place again: nothing to do
    assert NodeFolder(place.current).credential().principal == mine
    assert has_joined(place)


def test_settings_become_configuration_once(place: Place) -> None:
    wifi = Wifi("HomeNet", "correct horse", "DE")
    settings = Settings("pi-2", "Europe/Berlin", wifi)
    assert apply(settings, place, now=NOW) == ["host name", "time zone", "Wi-Fi"]
    assert apply(settings, place, now=NOW) == []
    assert place.etc("hostname").read_text() == "pi-2\n"
    assert "127.0.1.1\tpi-2" in place.etc("hosts").read_text()
    assert str(place.etc("localtime").readlink()) == "/usr/share/zoneinfo/Europe/Berlin"
    secret = place.etc("wpa_supplicant", "wpa_supplicant-wlan0.conf")
    assert secret.stat().st_mode & 0o777 == 0o600
    changed = Settings(wifi=Wifi("HomeNet", "right horse", "DE"))
    assert apply(changed, place, now=NOW) == ["Wi-Fi"]


def test_no_name_or_password_breaks_out_of_the_wifi_configuration() -> None:
    text = supplicant_text(Wifi('a"}\nnetwork={', 'pass"}word #1', "GB", hidden=True))
    assert "ssid=61227d0a" in text
    assert '  psk="pass"}word #1"\n' in text
    assert text.count("network={") == 1
    assert "scan_ssid=1" in text
    assert "country=GB" in text
    assert "key_mgmt=NONE" in supplicant_text(Wifi("open"))
    assert f"psk={'0' * 64}" in supplicant_text(Wifi("net", "0" * 64))


def test_what_a_new_card_leaves_out_stays(place: Place) -> None:
    old = Settings("pi-2", "Europe/Berlin", Wifi("HomeNet", "correct horse"), clock=5)
    keep_settings(merged(Settings(ticket="btt1x", clock=9), old), place)
    kept = kept_settings(place)
    assert (kept.hostname, kept.wifi, kept.ticket, kept.clock) == ("pi-2", old.wifi, "", 9)


def test_the_secret_is_overwritten_and_gone(place: Place) -> None:
    file = place.card / "blocktree.toml"
    file.write_text("[node]\nticket = 'btt1secret'\n")
    other = place.card / "same-blocks"
    other.hardlink_to(file)  # what lay in its blocks
    card = Card(place)
    card.erase()
    assert not file.exists()
    assert set(other.read_bytes()) == {0}
    card.erase()  # nothing to do is no fault


def test_status_is_written_for_windows_and_only_when_it_changes(place: Place) -> None:
    card = Card(place)
    card.tell("one\ntwo\n")
    file = place.card / "STATUS.txt"
    assert file.read_bytes() == b"one\r\ntwo\r\n"
    file.write_text("untouched")
    card.tell("one\ntwo\n")
    assert file.read_text() == "untouched"


def test_settings_that_make_no_sense_are_named(place: Place) -> None:
    (place.card / "blocktree.toml").write_text("[wlan]\nssid = 'x'\npassword = 'short'\n")
    with pytest.raises(Fault, match="8 to 63") as caught:
        Card(place).settings()
    assert caught.value.path == "blocktree.toml"


def test_a_board_tells_how_it_is(place: Place, owner: Credential) -> None:
    assert "names no tree" in look(place).text()
    prepare(_settings(owner, "pi-2"), place)
    told = look(place, ("settings: no such time zone",)).text()
    assert "NOT JOINED YET" in told
    assert "/…/pi-2" in told
    assert "! settings: no such time zone" in told


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (Condition("pi"), "names no tree to join"),
        (Condition("pi", "/…/pi-2", network=Network(cable=False)), "no cable is plugged in"),
        (Condition("pi", "/…/pi-2", network=Network(cable=True)), "does the router give addresses"),
        (
            Condition("pi", "/…/pi-2", network=Network(wifi="HomeNet", refused=True)),
            '"HomeNet" refuses the password',
        ),
        (
            Condition("pi", "/…/pi-2", network=Network(wifi="HomeNet", wifi_state="SCANNING")),
            "state SCANNING",
        ),
        (
            Condition("pi", "/…/pi-2", network=Network(wifi="HomeNet")),
            "no adapter was found",
        ),
        (Condition("pi", "/…/pi-2", network=ONLINE), "looks for the other computers"),
        (
            Condition("pi", "/…/pi-2", network=ONLINE, problem="the ticket expired yesterday"),
            "bt image customise DEVICE --node /…/pi-2",
        ),
        (
            Condition("pi", "/…/pi-2", network=ONLINE, problem="no member of the tree answers"),
            "--addr HOST:PORT",
        ),
        (
            Condition("pi", "/…/pi-2", joined=True, network=ONLINE, memory="131 of 466 MiB used"),
            "OK: it has joined",
        ),
    ],
)
def test_status_names_what_is_in_the_way_and_what_to_do(condition: Condition, said: str) -> None:
    text = condition.text()
    assert said in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "\n\n\n" not in text


def test_the_last_complaint_of_a_node_is_found_in_its_log() -> None:
    log = [
        "2026-11-25 22:00:00,000 INFO blocktree.node: answers",
        "2026-11-25 22:00:01,000 WARNING blocktree.store.joining: not recorded yet: no member",
        "2026-11-25 22:00:02,000 WARNING zeroconf: Error with socket 15",
        "Traceback (most recent call last):",
    ]
    assert last_complaint(log) == "not recorded yet: no member"
    assert last_complaint([]) == ""


def test_what_the_system_tells_is_read() -> None:
    assert wifi_state("bssid=00\nwpa_state=COMPLETED\nkey=x\n") == "COMPLETED"
    assert wifi_refused("0\tHomeNet\tany\t[CURRENT][TEMP-DISABLED]\n")
    assert not wifi_refused("0\tHomeNet\tany\t[CURRENT]\n")
    memory = "MemTotal:  477184 kB\nMemFree: 1 kB\nMemAvailable:  343040 kB\n"
    assert memory_text(memory) == "131 of 466 MiB used"
