"""Finding contracts where a person points: a Python file, or a module by its dotted name."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from blocktree.actors.examine import contracts_in
from blocktree.contract import Contract
from blocktree.fault import Fault, Kind


def load(name: str) -> ModuleType:
    """Run a Python file, or import a module.

    Raises:
        Fault: NOT_FOUND if there is neither; MALFORMED, with the line, if it cannot be run.
    """
    path = Path(name)
    if path.suffix == ".py" or path.exists():
        return _load_file(path)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as cause:
        if cause.name is None or not (name == cause.name or name.startswith(f"{cause.name}.")):
            raise _broken(cause, name) from cause
        what = "there is no such file, and no such module"
        raise Fault(
            Kind.NOT_FOUND, what, path=name, next_step="give a FILE.py or package.module"
        ) from None
    except Exception as cause:
        raise _broken(cause, name) from cause


def one_contract(module: ModuleType, name: str) -> Contract:
    """The contract of that name in a module; without a name, the only one.

    Raises:
        Fault: NOT_FOUND; USAGE if there are several and none is named.
    """
    found = contracts_in(module)
    wanted = [contract for contract in found if not name or contract.name == name]
    names = ", ".join(contract.name for contract in found)
    where = module.__file__ or module.__name__
    if not found:
        raise Fault(Kind.NOT_FOUND, "names no contract", path=where)
    if not wanted:
        raise Fault(
            Kind.NOT_FOUND, f"has no contract {name}", path=where, next_step=f"there is: {names}"
        )
    if len(wanted) > 1:
        raise Fault(
            Kind.USAGE, "has several contracts", path=where, next_step=f"--contract one of: {names}"
        )
    return wanted[0]


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise Fault(Kind.NOT_FOUND, "there is no such file", path=str(path))
    name = f"_contract_{path.stem}"
    while getattr(sys.modules.get(name), "__file__", str(path)) != str(path):
        name += "_"  # another file of that name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Fault(Kind.USAGE, "is not a Python file", path=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and annotations look it up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Fault:
        raise
    except Exception as cause:
        raise _broken(cause, str(path)) from cause
    finally:
        sys.path.remove(str(path.parent))
    return module


def _broken(cause: Exception, name: str) -> Fault:
    """Which line of the file could not be run, and why."""
    line = 0
    if isinstance(cause, SyntaxError) and cause.lineno:
        line = cause.lineno
    for frame in traceback.extract_tb(cause.__traceback__):
        if frame.filename.endswith(name) and frame.lineno:
            line = frame.lineno
    where = f"{name}:{line}" if line else name
    return Fault(Kind.MALFORMED, f"cannot be run: {type(cause).__name__}: {cause}", path=where)
