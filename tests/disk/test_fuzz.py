"""Whatever bytes are found in the directory: a disk that tells the truth, or a Fault."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from blocktree.disk import MemoryIndex, SimulatedFiles
from blocktree.disk.scan import Bad, walk
from blocktree.disk.segment import key_of
from blocktree.fault import Fault
from disk.rig import Run, open_disk

KEY = key_of(b"d" * 16)
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),  # which file
        st.floats(0, 1, exclude_max=True),  # where in it
        st.integers(0, 40),  # how much goes
        st.binary(max_size=40),  # what comes
    ),
    min_size=1,
    max_size=4,
)


def ran() -> tuple[SimulatedFiles, MemoryIndex, Run]:
    files, index = SimulatedFiles(), MemoryIndex()
    run = Run(open_disk(files, index), 21)
    for _ in range(40):
        run.step()
    run.sync()
    return files, index, run


FILES, INDEX, RUN = ran()


@settings(max_examples=60)
@given(edits=EDITS, salvage=st.booleans(), anew=st.booleans())
def test_edited_files_give_a_truthful_disk_or_a_fault(
    edits: list[tuple[float, float, int, bytes]], *, salvage: bool, anew: bool
) -> None:
    contents = FILES.everything()
    for which, where, gone, new in edits:
        name = sorted(contents)[int(which * len(contents))]
        at = int(where * len(contents[name]))
        contents[name] = contents[name][:at] + new + contents[name][at + gone :]
    index = MemoryIndex() if anew else INDEX.copy()
    with contextlib.suppress(Fault):
        disk = open_disk(SimulatedFiles(contents), index, salvage=salvage)
        for digest in set(RUN.truth.every) - set(disk.missing(RUN.truth.every)):
            with contextlib.suppress(Fault):
                assert disk.read_blob(digest, verify=True) == RUN.truth.every[digest]
        for n in range(disk.log.first_index, disk.log.last_index + 1):
            with contextlib.suppress(Fault):
                disk.log.entries(n, n + 1, 0)
        assert disk.stats().live >= 0


@settings(max_examples=100)
@given(contents=st.binary(max_size=3000))
def test_a_walk_covers_any_bytes_without_gaps_or_overlaps(contents: bytes) -> None:
    file = SimulatedFiles({"segment-00000001": contents}).open("segment-00000001")
    at = 0
    for item in walk(file, 1, KEY, size=len(contents), verify=True):
        start, end = (
            (item.offset, item.until)
            if isinstance(item, Bad)
            else (item.head.offset, item.head.end)
        )
        assert start == at
        assert end > start
        at = end
    assert at == len(contents)
