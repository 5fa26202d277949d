"""PDF files under a password: the standard security handler, revision 3, RC4 with 128 bits (ISO 32000-1, section 7.6).

Libraries draw random numbers for what they encrypt, and the sample's bytes may not depend on any. To show, not to
protect: RC4 is long broken.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from pipeline.sample.pdf import assembled

PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")  # algorithm 2, step a
PRINTING_ONLY = -3900  # table 22: bits 3, 7, 8 and all from 13 on
STREAM = re.compile(rb"(?<=\nstream\n).*(?=\nendstream\Z)", re.DOTALL)
STRING = re.compile(rb"(?<=<)feff[0-9a-f]*(?=>)")  # as `pdf` writes them outside streams


def locked(objects: Sequence[bytes], user: str, owner: str) -> bytes:
    """The file of these objects (`pdf.objects_of`), encrypted under a user's and an owner's password."""
    identity = hashlib.sha256(b"".join(objects)).digest()[:16]
    owner_entry = chained(stretched(padded(owner)), padded(user))
    permissions = PRINTING_ONLY.to_bytes(4, "little", signed=True)
    key = stretched(padded(user) + owner_entry + permissions + identity)  # algorithm 2
    user_entry = chained(key, md5(PADDING + identity)) + bytes(16)  # algorithm 5
    sealed = [seal(content, key + number.to_bytes(3, "little") + bytes(2)) for number, content in enumerate(objects, 1)]
    handler = (
        f"<< /Filter /Standard /V 2 /R 3 /Length 128 /P {PRINTING_ONLY} /O <{owner_entry.hex()}> "
        f"/U <{user_entry.hex()}> >>"
    )
    return assembled([*sealed, handler.encode("ascii")], identity, f"/Encrypt {len(sealed) + 1} 0 R ")


def seal(content: bytes, seed: bytes) -> bytes:
    """An object with its stream and its strings encrypted (algorithm 1)."""
    key = md5(seed)
    content = STREAM.sub(lambda found: rc4(key, found[0]), content)
    return STRING.sub(lambda found: rc4(key, bytes.fromhex(found[0].decode())).hex().encode(), content)


def padded(password: str) -> bytes:
    return (password.encode("latin-1") + PADDING)[:32]


def stretched(data: bytes) -> bytes:
    """Its digest's digest …, fifty times over."""
    for _ in range(51):
        data = md5(data)
    return data


def chained(key: bytes, data: bytes) -> bytes:
    """Encrypted twenty times, with the key changed from time to time (algorithm 3, steps f and g)."""
    for step in range(20):
        data = rc4(bytes(byte ^ step for byte in key), data)
    return data


def md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    out = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
