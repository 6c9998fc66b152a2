"""Which digest names a content? SHA-256 everywhere: 1.7 ms for 3 MB where the processor has SHA instructions."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanner.model.tile import Pixels


def text_hash(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(pixels: Pixels | NDArray[np.float32]) -> str:
    """SHA-256 over dtype, shape and bytes of an image."""
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
