"""What blobs are named by: BLAKE3, held against its authors' own vectors."""

import pytest

from blocktree.names import digest_of

# From `test_vectors/test_vectors.json` of the BLAKE3 team: an input of n bytes counts 0 … 250 over
# and over; the first 32 bytes of `hash`.
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}


@pytest.mark.parametrize(("size", "hexadecimal"), VECTORS.items())
def test_a_blob_is_named_as_the_published_vectors_say(size: int, hexadecimal: str) -> None:
    blob = bytes(number % 251 for number in range(size))
    assert digest_of(blob).hex() == hexadecimal
    assert digest_of(memoryview(bytearray(blob))) == digest_of(blob)
