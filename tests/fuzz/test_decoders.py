"""Whatever bytes come: what a decoder promises, or a `Fault`; and no decoder is forgotten."""

import ast
import contextlib
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import blocktree
from blocktree.fault import Fault
from blocktree.wire import Record, decode, encode
from blocktree.wire.record import _codecs
from fuzz.decoders import DECODERS, NOT_FOREIGN
from fuzz.plain import plain_record

ROOT = Path(__file__).parents[2]
PACKAGES = {"blocktree": "node", "blocktree_gateway": "gateway", "blocktree_images": "images"}
AT_HOME = ("blocktree.cli", "blocktree.sim", "blocktree.disk.files", "blocktree.disk.simulated")
NAMES = re.compile(r"(decode|load|read|parse|split|unpack|open)(_\w+)?$")
FOREIGN = {"bytes", "str", "Body", "Buffer", "memoryview", "tuple[bytes, ...]", "Index"}
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 9), st.binary(max_size=9)),
    max_size=4,
)


@pytest.mark.parametrize("name", list(DECODERS))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(noise=st.binary(max_size=200), edits=EDITS, which=st.integers(0, 9))
def test_a_decoder_gives_a_value_or_a_fault(
    name: str, noise: bytes, edits: list[tuple[float, int, bytes]], which: int
) -> None:
    fuzzed = DECODERS[name]
    spoiled = fuzzed.good[which % len(fuzzed.good)] if fuzzed.good else noise
    for where, gone, new in edits:
        at = int(where * len(spoiled))
        spoiled = spoiled[:at] + new + spoiled[at + gone :]
    for data in (noise, spoiled):
        with contextlib.suppress(Fault):
            fuzzed.decode(data)


@pytest.mark.parametrize("name", list(DECODERS))
def test_a_decoder_accepts_its_samples(name: str) -> None:
    for data in DECODERS[name].good:
        DECODERS[name].decode(data)


def test_no_decoder_is_without_a_fuzz_test() -> None:
    found = {name for package in PACKAGES for name in decoders_of(package)}
    forgotten = sorted(found - DECODERS.keys() - NOT_FOREIGN.keys() - fuzzed_elsewhere(found))
    assert not forgotten, f"add to tests/fuzz/decoders.py: {', '.join(forgotten)}"
    assert NOT_FOREIGN.keys() <= found


def fuzzed_elsewhere(names: Iterable[str]) -> set[str]:
    """Those that some other test module names which draws its input by hypothesis."""
    here = Path(__file__).parent
    modules = [path for path in here.parent.rglob("*.py") if path.parent != here]
    texts = [text for path in modules if "@given" in (text := path.read_text())]
    words = set(re.findall(r"\w+", "\n".join(texts)))
    return {name for name in names if name.rpartition(".")[2] in words}


def decoders_of(package: str) -> Iterator[str]:
    """Public functions and class methods that are named like decoders and take foreign bytes."""
    root = ROOT / PACKAGES[package]
    for path in sorted((root / package).rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        if not module.startswith(AT_HOME):
            tree = ast.parse(path.read_text())
            yield from (f"{module}.{name}" for name in _decoders(tree.body))


def _decoders(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if _is_class_method(each)]
            yield from (f"{node.name}.{name}" for name in _decoders(methods))
        if isinstance(node, ast.FunctionDef) and NAMES.match(node.name):
            arguments = [a for a in node.args.args if a.arg not in ("self", "cls")]
            first = arguments[0].annotation if arguments else None
            if first is not None and ast.unparse(first) in FOREIGN:
                yield node.name


def _is_class_method(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(each, ast.Name) and each.id in {"classmethod", "staticmethod"}
        for each in node.decorator_list
    )


# every record of the wire, also those that are declared tomorrow


def all_records() -> dict[str, type[Record]]:
    for found in pkgutil.walk_packages(blocktree.__path__, "blocktree."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    return {
        codec.cls.__qualname__: codec.cls
        for codec in _codecs.values()
        if codec.cls.__module__.startswith("blocktree")
    }


RECORDS = all_records()


def test_there_are_records_to_look_at() -> None:
    assert len(RECORDS) > 90


@pytest.mark.parametrize("name", list(RECORDS))
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_record_comes_back_or_is_refused(name: str, data: st.DataObject) -> None:
    encoded = data.draw(plain_record(RECORDS[name]))
    try:
        value = decode(encoded, RECORDS[name])
    except Fault:
        return
    assert encode(value) == encoded or decode(encode(value), RECORDS[name]) == value
