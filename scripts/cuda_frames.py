"""On what is the detector on CUDA measured? Many simulated frames from few scenes, in pinned memory and encoded."""

import importlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch

from detection.detections import Image
from scanner.devices.simulated.scene import ABNORMAL_MIX, NORMAL_MIX, render_scene

SEED = 900_001
SIDE_PX = 1024
QUALITY = 90
SHIFT_PX = 96


def scenes(number: int) -> list[Image]:
    """Simulated fields, (1024, 1024, 3) uint8; in every other there are far more abnormal cells than on any slide."""
    mixes = [NORMAL_MIX, NORMAL_MIX | ABNORMAL_MIX]

    def made(index: int) -> Image:
        return render_scene((SIDE_PX, SIDE_PX), SEED + index, mix=mixes[index % 2]).rgb

    with ThreadPoolExecutor() as pool:
        return list(pool.map(made, range(number)))


def frames(fields: Sequence[Image], number: int) -> list[Image]:
    """As many of the same size that all differ: the fields turned, mirrored and rolled."""
    rounds = ((mirror, turn, step) for step in itertools.count() for mirror in (1, -1) for turn in range(4))
    ways = ((field, way) for way in rounds for field in fields)
    return [
        np.ascontiguousarray(np.roll(np.rot90(field[::mirror], turn), step * SHIFT_PX, (0, 1)))
        for field, (mirror, turn, step) in itertools.islice(ways, number)
    ]


def fours(images: Sequence[Image]) -> list[Image]:
    """(2048, 2048, 3) of every four (1024, 1024, 3)."""
    sets = (images[start : start + 4] for start in range(0, len(images) - 3, 4))
    return [np.vstack([np.hstack(four[:2]), np.hstack(four[2:])]) for four in sets]


def pinned(images: Sequence[Image]) -> list[Image]:
    """Copies in memory from which a device can fetch by itself."""
    places = room(len(images), images[0].shape[0])
    for place, image in zip(places, images, strict=True):
        place[:] = image
    return places


def room(number: int, side_px: int) -> list[Image]:
    """As many frames in pinned memory, not yet filled."""
    return list(torch.empty((number, side_px, side_px, 3), dtype=torch.uint8, pin_memory=True).numpy())


def from_jpeg(images: Sequence[Image], threads: int) -> Callable[[], Iterator[Image]]:
    """What decodes the images in their order, in so many threads, into pinned memory."""
    how = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    encoded = [cv2.imencode(".jpg", image[:, :, ::-1], how)[1] for image in images]
    places = room(len(images), images[0].shape[0])

    def decoded(number: int) -> Image:
        image = cv2.imdecode(encoded[number], cv2.IMREAD_COLOR)
        assert image is not None
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=places[number])
        return places[number]

    return lambda: _in_order(decoded, len(images), threads)


def from_zarr(images: Sequence[Image], threads: int) -> Callable[[], Iterator[Image]] | None:
    """The same from the zstd chunks of a Zarr array in memory; None where tensorstore is not installed."""
    if importlib.util.find_spec("tensorstore") is None:
        return None
    tensorstore = importlib.import_module("tensorstore")
    shape = images[0].shape
    grid = {"name": "regular", "configuration": {"chunk_shape": [1, *shape]}}
    zstd = {"name": "zstd", "configuration": {"level": 1}}
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "memory"},
        "metadata": {
            "shape": [len(images), *shape],
            "chunk_grid": grid,
            "data_type": "uint8",
            "codecs": [{"name": "bytes"}, zstd],
        },
    }
    store = tensorstore.open(spec, create=True).result()
    store.write(np.stack(images)).result()
    places = room(len(images), shape[0])

    def decoded(number: int) -> Image:
        places[number][:] = store[number].read().result()
        return places[number]

    return lambda: _in_order(decoded, len(images), threads)


def _in_order(decoded: Callable[[int], Image], number: int, threads: int) -> Iterator[Image]:
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(decoded, range(number))
