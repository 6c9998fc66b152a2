"""How are the images of a slide kept: as its profile asks, and within which noise?

An image says so from its first second, and a resume does as it says.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from scanner.model.profile import CameraNoise, Profile, StorageMode
from scanner.model.rounding import Rounding, Stored
from scanner.model.tile import Judged, Pixels
from scanner.pipeline.flat_field import Correction
from scanner.pipeline.noise import noise_curve
from scanner.pipeline.replan import PlanSettled
from scanner.storage.ome_zarr import PyramidStore

FRAMES_ASKED = 6
BRIGHTEST = 255  # empty glass, as the white balance counts

Items = Iterable[Judged | PlanSettled]


def storing(
    profile: Profile, correction: Callable[[], Correction], image: Path, items: Items
) -> tuple[Stored, Iterator[Judged | PlanSettled]]:
    """How the slide's image is kept, and the same items: where nobody measured the camera, the first tiles tell.

    ``correction`` is asked for once the first item is in.
    """
    asked, stream = profile.storage, iter(items)
    if (image / "zarr.json").is_file():
        return PyramidStore.open(image).spec.storage, stream
    if asked.mode is StorageMode.LOSSLESS:
        return Stored(codec=asked.codec), stream
    dtype: np.dtype[Any] = np.dtype(np.uint8 if profile.camera.bits == 8 else np.uint16)
    measured = profile.measured.noise
    if measured is not None:
        source, head = (
            f"measured on the rig {measured.when:%Y-%m-%d}: {measured.how}",
            list(islice(stream, 1)),
        )
        rounding = Rounding.within(_least(measured.value, _least_gain(profile, correction())), source, dtype)
        return Stored(codec=asked.codec, rounding=rounding), chain(head, stream)
    first = list(_first(stream))
    frames = [item.pixels for item in first if isinstance(item, Judged) and item.pixels is not None]
    return Stored(codec=asked.codec, rounding=_told_by(frames, dtype)), chain(first, stream)


def _least(noise: CameraNoise, gain: float) -> CameraNoise:
    """Of a pixel in the image: what is made darker becomes quieter than the camera's."""
    return CameraNoise(
        electrons_per_dn=round(noise.electrons_per_dn / gain, 4), read_dn=round(noise.read_dn * gain, 4)
    )


def _least_gain(profile: Profile, correction: Correction) -> float:
    """The least that a pixel is multiplied with: by the flat field in the bright middle, and by the white balance."""
    flat = 1.0 if correction.gain is None else min(1.0, float(correction.gain.min()))
    background = profile.image.background
    return flat if background is None else flat * background / BRIGHTEST


def _told_by(frames: list[Pixels], dtype: "np.dtype[Any]") -> Rounding | None:
    noise = noise_curve(frames)
    if noise is None:
        return None
    return Rounding.within(noise, f"told by the smooth parts of the slide's first {len(frames)} tiles", dtype)


def _first(items: Iterator[Judged | PlanSettled]) -> Iterator[Judged | PlanSettled]:
    """Some tiles, or all of a plan that has fewer."""
    seen = 0
    for item in items:
        yield item
        seen += isinstance(item, Judged) and item.pixels is not None
        if seen == FRAMES_ASKED or isinstance(item, PlanSettled):
            return
