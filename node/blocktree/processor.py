"""What this processor computes quickly, and OpenSSL told of it.

Of the Raspberry Pis only the 5 has instructions for AES. The others encrypt several times as many
bytes a second with ChaCha20-Poly1305. Python before 3.15 has no way to say so for TLS 1.3, but
OpenSSL reads a configuration (`config(5ssl)`) when it is first used.
"""

import os
from pathlib import Path

_OPENSSL_CONFIG = Path(__file__).with_name("chacha-first.cnf")


def has_aes() -> bool:
    """Whether it has instructions for AES; true if the system does not say."""
    try:
        return "aes" in Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return True


def prepare_tls() -> None:
    """Have TLS 1.3 use what is quick here, unless whoever runs this configured OpenSSL.

    To be called before anything loads OpenSSL (`ssl`, `hashlib`).
    """
    if not has_aes():
        os.environ.setdefault("OPENSSL_CONF", str(_OPENSSL_CONFIG))
