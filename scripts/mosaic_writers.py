"""How does each writer turn the same tiles into an image with all its levels, and what does that cost?

``python -m scripts.mosaic_writers WRITER SQUARE_PX OUT`` runs one in this process alone and prints its figures as JSON.
"""

import itertools
import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorstore as ts
import tifffile
import zarr
from zarr.codecs import BloscCodec

from scanner.pipeline.mosaic import BlockId, Mosaic
from scanner.pipeline.placement import Placed
from scanner.pipeline.pyramid import Pyramid, Shown
from scanner.storage.ngff import CHUNK_PX, SHARD_PX, ImageSpec, array_metadata, level_sizes
from scanner.storage.ome_zarr import PyramidStore
from scripts.mosaic_workload import Bytes, Workload, square, strip

Feed = Iterator[Placed]
Writer = Callable[[Path, Workload, Feed], None]
STRIP_PX = 4096  # lines read back at once by the naive writers
JPEG_QUALITY = 87


def spec_of(load: Workload) -> ImageSpec:
    """What is declared of the image."""
    size = {"width_px": load.canvas.width_px, "height_px": load.canvas.height_px}
    return ImageSpec.model_validate(
        {"name": "bench", "dtype": "uint8", "channels": 3, "um_per_px": 0.5} | size
    )


class Road:
    """The product's own road from placed tiles to the finished image."""

    def __init__(self, out: Path, load: Workload) -> None:
        spec = spec_of(load)
        self._load = load
        self.store = (
            PyramidStore.open(out) if (out / "zarr.json").exists() else PyramidStore.create(out, spec)
        )
        self._mosaic = Mosaic(load.canvas, load.lattice)
        self._pyramid = Pyramid(self.store.sizes, SHARD_PX, spec.fill, self.store)

    def run(self, feed: Feed) -> None:
        """All tiles, to the finished image."""
        rows, cols = (1 + max(at) for at in zip(*((p.row, p.col) for p in self._load.placed), strict=True))
        around = set(itertools.product(range(-2, rows + 2), range(-2, cols + 2)))
        self._draw(self._mosaic.void(sorted(around - set(itertools.product(range(rows), range(cols))))))
        for placed in feed:
            self._draw(self._mosaic.place(placed))
            self._mosaic.unneeded()
        self._draw(self._mosaic.settle())
        self.store.complete({})

    def _draw(self, blocks: list[BlockId]) -> None:
        for block in blocks:
            shown: Shown = (
                "stored" if self.store.has(0, *block) else self._mosaic.draw(block, self._load.pixels)
            )
            self._pyramid.add(*block, shown)


def ours(out: Path, load: Workload, feed: Feed) -> None:
    """Mosaic, pyramid and store of the product."""
    Road(out, load).run(feed)


def naive_tensorstore(out: Path, load: Workload, feed: Feed) -> None:
    """Each tile's part is written when it comes, which reads and writes shards again; then level from level."""
    arrays = []
    for level, size in enumerate(level_sizes(load.canvas.width_px, load.canvas.height_px)):
        store = {"driver": "file", "path": str(out / str(level))}
        asked = {"driver": "zarr3", "kvstore": store, "metadata": array_metadata(spec_of(load), size)}
        arrays.append(ts.open(asked, create=True, delete_existing=True).result())
    for placed in feed:
        for box in load.owned(placed):
            part = np.ascontiguousarray(load.part(placed, box))
            arrays[0][:, box.y0 : box.y1, box.x0 : box.x1].write(part).result()
    for below, above in itertools.pairwise(arrays):
        for y in range(0, above.shape[1], STRIP_PX // 2):
            lines = below[:, 2 * y : min(2 * y + STRIP_PX, 2 * above.shape[1])].read().result()
            half = halved(lines)
            above[:, y : y + half.shape[1]].write(half).result()


def naive_zarr(out: Path, load: Workload, feed: Feed) -> None:
    """The same through zarr-python."""
    group, arrays = zarr.open_group(out, mode="w"), []
    for level, (width, height) in enumerate(level_sizes(load.canvas.width_px, load.canvas.height_px)):
        arrays.append(
            group.create_array(
                str(level),
                shape=(3, height, width),
                dtype="uint8",
                chunks=(1, CHUNK_PX, CHUNK_PX),
                shards=(3, SHARD_PX, SHARD_PX),
                compressors=BloscCodec(typesize=1, cname="lz4", clevel=4, shuffle="bitshuffle"),
                fill_value=255,
            )
        )
    for placed in feed:
        for box in load.owned(placed):
            arrays[0][:, box.y0 : box.y1, box.x0 : box.x1] = np.ascontiguousarray(load.part(placed, box))
    for below, above in itertools.pairwise(arrays):
        for y in range(0, above.shape[1], STRIP_PX // 2):
            half = halved(np.asarray(below[:, 2 * y : min(2 * y + STRIP_PX, 2 * above.shape[1])]))
            above[:, y : y + half.shape[1]] = half


def acquire_zarr(out: Path, load: Workload, feed: Feed) -> None:
    """It streams frames and places none: the canvas is put together in memory, and is three frames of a stream."""
    import acquire_zarr as aqz

    def axis(name: str, kind: Any, size: int, chunk: int, shard: int) -> Any:
        return aqz.Dimension(
            name=name, kind=kind, array_size_px=size, chunk_size_px=chunk, shard_size_chunks=shard
        )

    canvas, kinds, per = assembled(load, feed), aqz.DimensionType, SHARD_PX // CHUNK_PX
    image = aqz.ArraySettings(
        output_key="",
        data_type=np.uint8,
        dimensions=[
            axis("c", kinds.CHANNEL, 3, 1, 3),
            axis("y", kinds.SPACE, canvas.shape[1], CHUNK_PX, per),
            axis("x", kinds.SPACE, canvas.shape[2], CHUNK_PX, per),
        ],
        compression=aqz.CompressionSettings(
            compressor=aqz.Compressor.BLOSC1, codec=aqz.CompressionCodec.BLOSC_LZ4, level=4, shuffle=2
        ),
        downsampling_method=aqz.DownsamplingMethod.MEAN,
    )
    stream = aqz.ZarrStream(aqz.StreamSettings(store_path=str(out), arrays=[image], overwrite=True))
    for plane in canvas:
        stream.append(plane)
    stream.close()


def tiff_jpeg(out: Path, load: Workload, feed: Feed) -> None:
    """A tiled, pyramidal OME-TIFF with JPEG, which loses something: its canvas lies in memory."""
    canvas = np.ascontiguousarray(np.moveaxis(assembled(load, feed), 0, -1))
    sizes = level_sizes(canvas.shape[1], canvas.shape[0])
    said: dict[str, Any] = {"photometric": "rgb", "tile": (512, 512), "compression": "jpeg"}
    said["compressionargs"] = {"level": JPEG_QUALITY}
    with tifffile.TiffWriter(out, bigtiff=True, ome=True) as tiff:
        tiff.write(canvas, subifds=len(sizes) - 1, **said)
        for size in sizes[1:]:
            canvas = np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)
            tiff.write(canvas, subfiletype=1, **said)


def assembled(load: Workload, feed: Feed) -> Bytes:
    """(3, h, w) of the whole canvas in memory."""
    canvas = np.full((3, load.canvas.height_px, load.canvas.width_px), 255, np.uint8)
    for placed in feed:
        for box in load.owned(placed):
            part = np.moveaxis(load.part(placed, box), 0, -1)
            cv2.split(part, list(canvas[:, box.y0 : box.y1, box.x0 : box.x1]))
    return canvas


def halved(planes: Bytes) -> Bytes:
    """(c, h, w) to half of both."""
    h, w = planes.shape[1] // 2, planes.shape[2] // 2
    return np.stack(
        [cv2.resize(p[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA) for p in planes]
    ).astype(np.uint8, copy=False)


WRITERS: dict[str, Writer] = {
    "ours": ours,
    "naive tensorstore": naive_tensorstore,
    "naive zarr-python": naive_zarr,
    "acquire-zarr": acquire_zarr,
    "tifffile JPEG": tiff_jpeg,
}


def measured(writer: Writer, out: Path, load: Workload) -> dict[str, float]:
    """CPU and wall seconds, the tail after the last tile, and anonymous memory above what was there before."""
    load.touch()
    base, peak, over, last = _anonymous(), [0], threading.Event(), [0.0]

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], _anonymous() - base)

    def feed() -> Feed:
        for placed in load.placed:
            last[0] = time.perf_counter()
            yield placed

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    writer(out, load, feed())
    ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    over.set()
    watcher.join()
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {"cpu_s": cpu_s, "wall_s": ended - began, "tail_s": ended - last[0], "peak_mb": peak[0] / 1e6}


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def main(name: str, canvas: str, out: str) -> None:
    """One writer, in this process."""
    cv2.setNumThreads(1)
    print(json.dumps(measured(WRITERS[name], Path(out), load_of(canvas))))


def load_of(canvas: str) -> Workload:
    """A canvas by its side in px, or by COLUMNSxROWS of 1024 px tiles."""
    cols, _, rows = canvas.partition("x")
    return strip(int(cols), int(rows)) if rows else square(int(cols))


if __name__ == "__main__":
    main(*sys.argv[1:])
