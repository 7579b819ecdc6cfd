"""The settings on a card: written, read back, and refused with a sentence if they make no sense."""

import pytest

from blocktree.fault import Fault, Kind
from blocktree_images.card.settings import Settings, Wifi, decode_settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJEoBPeNyqIvdf74Bu77iqpi2bImuUEiIOXn9Fvd8tSM me@here"
FULL = Settings(
    "pi-2",
    "Europe/Berlin",
    Wifi('Mörike\'s "net" \\ #1', 'pass "word" \\', "DE", hidden=True),
    (KEY,),
    "btt1abc",
    ("10.0.2.2:7401", "[fe80::1]:7400"),
    1_800_000_000,
)


@pytest.mark.parametrize("settings", [FULL, Settings(), Settings(wifi=Wifi("open"))])
def test_settings_are_read_as_they_were_written(settings: Settings) -> None:
    assert decode_settings(settings.encode().encode()) == settings


def test_an_editor_on_windows_does_no_harm() -> None:
    edited = b"\xef\xbb\xbf" + FULL.encode().encode().replace(b"\n", b"\r\n")
    assert decode_settings(edited) == FULL


def test_what_raspberry_pi_imager_writes_is_understood() -> None:
    preseed = b"""
[system]
hostname = "pi-3"
[user]
name = "ada"
password = "x"
[ssh]
enabled = true
authorized_keys = ["ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB ada"]
[wlan]
ssid_hex = "486f6d654e6574"
password_encrypted = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
country = "gb"
[locale]
timezone = "Europe/London"
keymap = "gb"
"""
    read = decode_settings(preseed, "rpi-preseed.toml")
    assert read.hostname == "pi-3"
    assert read.wifi == Wifi("HomeNet", "a" * 64, "GB")
    assert read.ssh_keys == ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB ada",)
    assert read.timezone == "Europe/London"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings("pi_2"), "host name"),
        (Settings("-pi"), "host name"),
        (Settings(timezone="Mars/Base"), "time zone"),
        (Settings(wifi=Wifi("x" * 33)), "1 to 32 bytes"),
        (Settings(wifi=Wifi("net", "short")), "8 to 63"),
        (Settings(wifi=Wifi("net", "new\nline!")), "8 to 63"),
        (Settings(wifi=Wifi("net", country="Germany")), "two capital letters"),
        (Settings(ssh_keys=("hello",)), "public ssh key"),
        (Settings(addresses=("nowhere",)), "HOST:PORT"),
    ],
)
def test_what_the_board_could_not_use_is_refused(settings: Settings, said: str) -> None:
    with pytest.raises(Fault, match=said) as caught:
        settings.encode()
    assert caught.value.kind is Kind.USAGE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"version = 2", "version 2"),
        (b"[system", "not settings"),
        (b"system = 7", "not settings"),
        (b"[system]\nhostname = 7", "is not text"),
        (b"[ssh]\nauthorized_keys = 'one'", "public ssh key"),
        (b"\xff\xfe", "not settings"),
        (b"#" * 70_000, "over 64 KiB"),
        (b"[wlan]\nssid = 'net'\npassword = 'short'", "8 to 63"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(text: bytes, said: str) -> None:
    with pytest.raises(Fault, match=said) as caught:
        decode_settings(text, "blocktree.toml")
    assert caught.value.kind is Kind.MALFORMED
    assert caught.value.path == "blocktree.toml"
