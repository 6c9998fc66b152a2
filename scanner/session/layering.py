"""Which images does a focus strategy leave of a slide, and what does each of them show?

``image`` always: the sharpest plane of every tile, or all layers with a z axis. ``edf`` and ``height`` beside it where
the planes are fused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scanner.model.events import Json
from scanner.model.profile import FocusSpec, FocusStrategy
from scanner.model.rounding import Stored
from scanner.model.tile import Pixels
from scanner.pipeline.canvas import MosaicFrame
from scanner.pipeline.flat_field import Correction, upright
from scanner.pipeline.frames import RecentFrames
from scanner.pipeline.fusing import HEIGHT_BIN_PX
from scanner.pipeline.height_sheet import Heights, paint_heights
from scanner.pipeline.mosaic import BlockId, Cut, Gain, Mosaic, Strokes
from scanner.pipeline.sheets import Sheet
from scanner.storage.fused import FusedSpool
from scanner.storage.ngff import SHARD_PX, ImageSpec
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.run_folder import SlidePaths


@dataclass(frozen=True, slots=True)
class Slide:
    """What the images of one slide are made of, and how they are kept.

    ``frames`` gives the sharpest plane and the layers of a tile; ``correction`` is asked for once the first tile is in,
    ``gain`` says in what light a tile is drawn.
    """

    name: str
    paths: SlidePaths
    frame: MosaicFrame
    focus: FocusSpec
    frames: RecentFrames
    fused: FusedSpool
    correction: Callable[[], Correction]
    stored: Stored
    gain: Gain | None = None


def begin_image(slide: Slide) -> PyramidStore:
    """The slide's own image, begun or gone on with."""
    spec = image_spec(slide.frame, slide.name, slide.stored)
    if slide.focus.strategy is FocusStrategy.Z_STACK:
        layers = {"layers": slide.focus.layers, "layer_um": slide.focus.layer_step_um}
        return opened(slide.paths.image, spec.model_copy(update=layers), _said_of_layers(slide.focus))
    return opened(slide.paths.image, spec)


def sheets(slide: Slide, image: PyramidStore) -> Callable[[Mosaic], Sequence[Sheet]]:
    """What is drawn of the slide's tiles, block by block, once there is a mosaic to ask where they lie."""
    if slide.focus.strategy is FocusStrategy.Z_STACK:
        return lambda mosaic: _layers(slide, image, mosaic)
    if slide.focus.strategy is FocusStrategy.EDF:
        return lambda mosaic: _sharpest_and_fused(slide, image, mosaic)
    return lambda mosaic: [Sheet(image, _painted(mosaic, slide.frames.cut, slide.gain))]


def _layers(slide: Slide, image: PyramidStore, mosaic: Mosaic) -> list[Sheet]:
    """All layers of a tile have its place."""
    cuts = [partial(slide.frames.cut_layer, n) for n in range(slide.focus.layers)]
    return [Sheet(image, _painted(mosaic, cut, slide.gain), layer=n) for n, cut in enumerate(cuts)]


def _sharpest_and_fused(slide: Slide, image: PyramidStore, mosaic: Mosaic) -> list[Sheet]:
    def plane(number: int, rows: slice, cols: slice) -> Pixels:
        return slide.correction().cut(slide.fused.plane(slide.name, slide.frames.tile(number)), rows, cols)

    def heights_um(number: int) -> Heights:
        return upright(
            slide.fused.heights_um(slide.name, slide.frames.tile(number)), slide.correction().turns
        )

    def paint(block: BlockId, strokes: Strokes) -> Heights | None:
        return paint_heights(block, strokes, heights_um, SHARD_PX // HEIGHT_BIN_PX)

    edf, height = _begin_fused(slide)
    return [
        Sheet(image, _painted(mosaic, slide.frames.cut, slide.gain)),
        Sheet(edf, _painted(mosaic, plane, slide.gain), image=slide.paths.edf.name.split(".")[0]),
        Sheet(height, paint, image=slide.paths.height.name.split(".")[0]),
    ]


def _painted(mosaic: Mosaic, cut: Cut, gain: Gain | None) -> Callable[[BlockId, Strokes], Pixels | None]:
    return lambda block, strokes: mosaic.paint(block, strokes, cut, gain)


def _begin_fused(slide: Slide) -> tuple[PyramidStore, PyramidStore]:
    """To the last bit: a mean of planes is quieter than the camera, and heights are no pixels."""
    spec = image_spec(slide.frame, slide.name, Stored(codec=slide.stored.codec))
    coarser = {
        "width_px": max(1, spec.width_px // HEIGHT_BIN_PX),
        "height_px": max(1, spec.height_px // HEIGHT_BIN_PX),
        "dtype": "float32",
        "channels": 1,
        "um_per_px": slide.frame.um_per_px * HEIGHT_BIN_PX,
        "shard_px": SHARD_PX // HEIGHT_BIN_PX,
        "shown": _height_range(slide.focus),
    }
    edf = opened(slide.paths.edf, spec, _said_of_layers(slide.focus))
    height = opened(slide.paths.height, spec.model_copy(update=coarser), {"unit": "micrometer", "is": HEIGHT})
    return edf, height


HEIGHT = (
    "z of the focus drive, as it reported, where the fused plane is sharpest; NaN where nothing was captured"
)


def _height_range(focus: FocusSpec) -> tuple[float, float]:
    """Where the search for focus looked, and half a stack beyond it."""
    reach = focus.range_um + focus.stack_um / 2
    return focus.start_um - reach, focus.start_um + reach


def _said_of_layers(focus: FocusSpec) -> dict[str, Json]:
    """Z 0 is the focus surface: what the tiles that were taken before said of the height at each field."""
    return {"focus": {"strategy": focus.strategy.value, "layer_offsets_um": list(focus.layer_offsets_um)}}


def image_spec(frame: MosaicFrame, name: str, stored: Stored | None = None) -> ImageSpec:
    """A slide's image of one plane."""
    canvas = frame.canvas
    return ImageSpec(
        name=name,
        width_px=canvas.width_px,
        height_px=canvas.height_px,
        dtype="uint8" if canvas.dtype.itemsize == 1 else "uint16",
        channels=canvas.channels,
        um_per_px=frame.um_per_px,
        origin_um=frame.slide_to_mosaic.inverse().offset,
        storage=stored or Stored(),
    )


def opened(path: Path, spec: ImageSpec, facts: dict[str, Json] | None = None) -> PyramidStore:
    """An image, begun or gone on with."""
    if (path / "zarr.json").is_file():
        store = PyramidStore.open(path)
        store.sweep()
        return store
    return PyramidStore.create(path, spec, facts)
