"""Cuts a pack of captures into shards of unequal size, between captures.

    python3 cut_shards.py PACK.warc.gz 40 FOLDER

A pack is a warcinfo record and then captures of three records (request, response, metadata), a gzip member each. Every
shard begins with the warcinfo. The first shards are the largest, so that one still runs when somebody has looked. Needs
nothing but Python: who brings crawlmill up in containers has none of it outside.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

RECORDS = 3  # of a capture
CHUNK = 1 << 16


def members(pack: bytes) -> list[bytes]:
    """The gzip members of a file, as they are. Raises zlib.error for what is none."""
    found, start = [], 0
    while start < len(pack):
        reader, end = zlib.decompressobj(wbits=31), start
        while not reader.eof:
            if end >= len(pack):
                raise EOFError(f"the member at {start} is cut off")
            reader.decompress(pack[end : end + CHUNK])
            end = min(end + CHUNK, len(pack))
        end -= len(reader.unused_data)
        found.append(pack[start:end])
        start = end
    return found


def sizes(captures: int, shards: int) -> list[int]:
    """So many numbers of at least 1 that fall like 1/n and have the sum `captures`."""
    weights = [1 / (n + 1) for n in range(shards)]
    made = [1 + int((captures - shards) * weight / sum(weights)) for weight in weights]
    made[-1] += captures - sum(made)
    return made


def main(pack: Path, shards: int, folder: Path) -> None:
    information, *records = members(pack.read_bytes())
    captures = [b"".join(records[i : i + RECORDS]) for i in range(0, len(records), RECORDS)]
    folder.mkdir(parents=True)
    at = 0
    for number, size in enumerate(sizes(len(captures), shards)):
        content = information + b"".join(captures[at : at + size])
        (folder / f"shard-{number:03d}.warc.gz").write_bytes(content)
        at += size
    print(f"{shards} shards of {sizes(len(captures), shards)} captures")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
