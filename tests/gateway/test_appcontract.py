"""An app's contract is checked before the app goes to a device."""

from pathlib import Path

import pytest

from blocktree.contract.compact import read_table
from blocktree.fault import Fault, Kind
from blocktree_gateway.appfile import read_folder, unpack_app
from blocktree_gateway.cli.appcontract import contract_table

CONTRACT = """
from dataclasses import dataclass

from blocktree.contract import Contract, Role, State, hears, mirror
from blocktree.wire import Record, record


@record(0x7FD1)
@dataclass(frozen=True, slots=True)
class Raise(Record):
    pass


@record(0x7FD2)
@dataclass(frozen=True, slots=True)
class Lower(Record):
    pass


BLINDS = Contract(
    "blinds",
    1,
    Role(
        "device",
        State("down", hears(Raise, then="up")),
        State("up", hears(Lower, then="down")),
    ),
    mirror("person"),
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text("from bt.app import DeviceApp\\n")
    (tmp_path / "contract.py").write_text(CONTRACT)
    return tmp_path


def test_the_table_of_the_contract_goes_with_the_app(folder: Path) -> None:
    made = contract_table(folder)
    assert made is not None
    assert read_table(made).role == "blinds.device"
    members = unpack_app(read_folder(folder, made))
    assert members["contract.tbl"] == made
    assert sorted(members) == ["app.py", "contract.tbl"]


def test_a_contract_that_is_wrong_is_refused_with_its_line(folder: Path) -> None:
    source = folder / "contract.py"
    source.write_text(CONTRACT.replace('then="up"', 'then="away"'))
    with pytest.raises(Fault, match="away") as wrong:
        contract_table(folder)
    assert wrong.value.path.startswith(f"{source}:")


def test_a_role_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(Fault, match="no role lamp") as missing:
        contract_table(folder, "lamp")
    assert missing.value.next_step == "--role one of: device, person"


def test_a_table_that_is_none_is_refused_and_no_contract_is_no_table(folder: Path) -> None:
    (folder / "contract.py").unlink()
    assert contract_table(folder) is None
    (folder / "contract.tbl").write_bytes(b"no table")
    with pytest.raises(Fault) as bad:
        contract_table(folder)
    assert bad.value.kind is Kind.MALFORMED
    assert bad.value.path.endswith("contract.tbl")
