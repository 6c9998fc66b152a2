"""Which bytes is a block of an image on disk? One shard of Zarr 3: its chunks, each encoded alone, and their index.

https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed. Encoded here, a block needs half the memory that
a general array library takes for it, and is on disk under a name of ours, or an error says why not; reading is left to
such a library.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import cv2
import google_crc32c
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from scanner.model.profile import StorageCodec
from scanner.storage.ngff import BLOSC_LEVEL, ZSTD_LEVEL, ImageSpec, chunk_px

Place: TypeAlias = tuple[int, int]
"""Row and column of some chunks, one a channel, in a block."""

NOTHING = np.iinfo(np.uint64).max  # offset and length of a chunk that is not there
OVERHEAD = 1024  # more than either codec adds to what it cannot make smaller


class ShardEncoder:
    """It works in one buffer that it keeps: what lies there is good until it is asked again."""

    def __init__(self, spec: ImageSpec) -> None:
        self._spec = spec
        self._side = chunk_px(spec)
        self._per_side = spec.shard_px // self._side
        self._planes = np.empty(
            (spec.channels, self._side, self._side), np.dtype(spec.dtype).newbyteorder("<")
        )
        self._pixels = np.empty((self._side, self._side, spec.channels), self._planes.dtype)
        self._index = np.empty((spec.channels, self._per_side, self._per_side, 2), "<u8")
        self._white: tuple[bytes, list[int]] | None = None
        self.most = spec.channels * (self._planes[0].nbytes + OVERHEAD)
        self.buffer = memoryview(bytearray(self._per_side**2 * self.most + self._index.nbytes + 4))

    def places(self, h: int, w: int) -> Iterator[tuple[Place, slice, slice]]:
        """Where the chunks of a block, or of a part, of (h, w) px lie, and its rows and columns of pixels."""
        side = self._side
        for row, col in itertools.product(range(-(-h // side)), range(-(-w // side))):
            yield (row, col), slice(row * side, (row + 1) * side), slice(col * side, (col + 1) * side)

    def encode(self, pixels: "NDArray[Any]", at: int) -> list[int]:
        """Chunks of one place (channels, h, w) into the buffer, white beyond what is given; how many bytes each has."""
        if self._is_white(pixels):
            return self._put_white(at)
        return self._encode(pixels, at)

    def _encode(self, pixels: "NDArray[Any]", at: int) -> list[int]:
        sizes, end = [], at
        for chunk in self._split(pixels):
            sizes.append(self._encoded(chunk, self.buffer[end : end + chunk.nbytes + OVERHEAD]))
            end += sizes[-1]
        return sizes

    def shard(self, sizes: Mapping[Place, Sequence[int]]) -> memoryview:
        """The file of a block whose chunks follow each other in the buffer as ``sizes`` says: with their index."""
        end = 0
        self._index.fill(NOTHING)
        for (row, col), of_channels in sizes.items():
            for channel, size in enumerate(of_channels):
                self._index[channel, row, col] = end, size
                end += size
        index = self._index.tobytes()
        tail = index + int(google_crc32c.value(index)).to_bytes(4, "little")
        self.buffer[end : end + len(tail)] = tail
        return self.buffer[: end + len(tail)]

    def _is_white(self, pixels: "NDArray[Any]") -> bool:
        """Of most places two pixels say no."""
        fill = self._spec.fill
        if pixels.size == 0:
            return True
        return bool(pixels[0, 0, 0] == fill and pixels[0, -1, -1] == fill and np.all(pixels == fill))

    def _put_white(self, at: int) -> list[int]:
        """A white place is encoded once: an image of a few fields is white nearly everywhere."""
        if self._white is None:
            sizes = self._encode(
                np.full((self._spec.channels, 1, 1), self._spec.fill, self._planes.dtype), at
            )
            self._white = bytes(self.buffer[at : at + sum(sizes)]), sizes
        encoded, sizes = self._white
        self.buffer[at : at + len(encoded)] = encoded
        return list(sizes)

    def _split(self, part: "NDArray[Any]") -> "NDArray[Any]":
        """(channels, side, side) of a part of at most that size, white beyond it.

        Split here and not before: what was just split is still in the processor's cache when it is encoded. Copied
        first: OpenCV splits lines that do not follow each other a third as fast.
        """
        if part.shape != self._planes.shape:
            self._planes.fill(self._spec.fill)
            self._planes[:, : part.shape[1], : part.shape[2]] = part
        elif len(part) == 1:
            self._planes[0] = part[0]
        else:
            np.copyto(self._pixels, part.transpose(1, 2, 0))
            cv2.split(self._pixels, list(self._planes))
        return self._planes

    def _encoded(self, chunk: "NDArray[Any]", into: Any) -> int:
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
