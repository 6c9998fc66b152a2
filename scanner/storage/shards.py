"""Which bytes is a block of an image on disk? One shard of Zarr 3: its chunks, each encoded alone, and their index.

https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed. Encoded here, a block needs half the memory that
a general array library takes for it, and is on disk under a name of ours, or an error says why not; reading is left to
such a library.
"""

import itertools
from typing import Any

import cv2
import google_crc32c
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from scanner.model.profile import StorageCodec
from scanner.storage.ngff import BLOSC_LEVEL, ZSTD_LEVEL, ImageSpec, chunk_px

NOTHING = np.iinfo(np.uint64).max  # offset and length of a chunk that is not there
OVERHEAD = 1024  # more than either codec adds to what it cannot make smaller


class ShardEncoder:
    """It works in one buffer that it keeps: what it gives is valid until it is asked again."""

    def __init__(self, spec: ImageSpec) -> None:
        self._spec = spec
        self._side = chunk_px(spec)
        self._per_side = spec.shard_px // self._side
        self._planes = np.empty(
            (spec.channels, self._side, self._side), np.dtype(spec.dtype).newbyteorder("<")
        )
        self._pixels = np.empty((self._side, self._side, spec.channels), self._planes.dtype)
        self._index = np.empty((spec.channels, self._per_side, self._per_side, 2), "<u8")
        most = self._index[..., 0].size * (self._planes[0].nbytes + OVERHEAD)
        self._shard = bytearray(most + self._index.nbytes + 4)

    def __call__(self, block: "NDArray[Any]") -> memoryview:
        """The shard of a block (channels, h, w), as large as what lies on the canvas of it."""
        view, end = memoryview(self._shard), 0
        self._index.fill(NOTHING)
        for row, col in itertools.product(range(self._per_side), repeat=2):
            for channel, chunk in enumerate(self._chunks(block, row, col)):
                size = self._encode(chunk, view[end : end + chunk.nbytes + OVERHEAD])
                self._index[channel, row, col] = end, size
                end += size
        index = self._index.tobytes()
        tail = index + int(google_crc32c.value(index)).to_bytes(4, "little")
        view[end : end + len(tail)] = tail
        return view[: end + len(tail)]

    def _chunks(self, block: "NDArray[Any]", row: int, col: int) -> "NDArray[Any]":
        """(channels, side, side) at a place of the shard, white beyond the canvas; no channel wholly beyond it.

        Split here and not before: what was just split is still in the processor's cache when it is encoded. Copied
        first: OpenCV splits lines that do not follow each other a third as fast.
        """
        side = self._side
        part = block[:, row * side : (row + 1) * side, col * side : (col + 1) * side]
        if not part.size:
            return self._planes[:0]
        if part.shape != self._planes.shape:
            self._planes.fill(self._spec.fill)
            self._planes[:, : part.shape[1], : part.shape[2]] = part
        elif len(part) == 1:
            self._planes[0] = part[0]
        else:
            np.copyto(self._pixels, part.transpose(1, 2, 0))
            cv2.split(self._pixels, list(self._planes))
        return self._planes

    def _encode(self, chunk: "NDArray[Any]", into: Any) -> int:
        """How many bytes a chunk became; ``into`` may be any writable buffer, which imagecodecs' types do not say."""
        pixels: Any = chunk
        if self._spec.storage.codec is StorageCodec.ZSTD:
            return len(imagecodecs.zstd_encode(pixels, level=ZSTD_LEVEL, out=into))
        encoded = imagecodecs.blosc_encode(
            pixels,
            level=BLOSC_LEVEL,
            compressor="lz4",
            shuffle="bitshuffle",
            typesize=chunk.itemsize,
            numthreads=1,
            out=into,
        )
        return len(encoded)
