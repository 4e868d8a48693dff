"""Decoded frames kept on disk, so that a clip is decoded once and not in every epoch."""

import hashlib
import os
from pathlib import Path

_END_BYTES = 64 * 1024


def file_key(path: Path) -> str:
    """32 hex digits naming a file's content: its size and a hash of its first and last 64 kB.

    The key does not depend on where the file lies, and reading the two ends keeps it fast for large videos.
    Raises FileNotFoundError when the file is missing.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.blake2b(str(size).encode(), digest_size=16)
            digest.update(file.read(_END_BYTES))
            file.seek(max(_END_BYTES, size - _END_BYTES))
            digest.update(file.read(_END_BYTES))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file. Restore it, or take it out of the catalogue.") from None
    return digest.hexdigest()
