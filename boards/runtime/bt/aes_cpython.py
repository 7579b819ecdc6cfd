"""AES for CPython, in the shape of MicroPython's `cryptolib`; boards never import it."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def aes(key, mode, iv=None):
    """ECB (mode 1) or CBC (mode 2) without padding, like `cryptolib.aes`."""
    chosen = modes.ECB() if mode == 1 else modes.CBC(iv)  # CCM is built from single ECB calls
    return _Aes(Cipher(algorithms.AES(key), chosen).encryptor())


class _Aes:
    def __init__(self, encryptor):
        self.encrypt = encryptor.update
