"""Where on the image does a place on the slide lie, how large is the image, and which tile owns which part of it?"""

import math
from dataclasses import dataclass

import numpy as np

from scanner.acquisition.locate import camera_to_slide
from scanner.model.geometry import Affine, Point, Space, quarter_turns_and_flips
from scanner.model.plan import Plan
from scanner.model.profile import Profile
from scanner.pipeline.lattice import Lattice
from scanner.pipeline.mosaic import Canvas


@dataclass(frozen=True, slots=True)
class MosaicFrame:
    """The image of one slide as declared by its first plan."""

    slide_to_mosaic: Affine
    canvas: Canvas
    lattice: Lattice

    @property
    def um_per_px(self) -> float:
        """The measured pixel size."""
        return 1 / self.slide_to_mosaic.scale

    def corner(self, x_um: float, y_um: float) -> Point:
        """Top-left (mosaic px) of a tile whose field is centred at slide µm."""
        h, w = self.lattice.tile_px
        centre = self.slide_to_mosaic.apply(Point(x_um, y_um))
        return Point(centre.x - w / 2, centre.y - h / 2)


def mosaic_frame(profile: Profile, plan: Plan) -> MosaicFrame:
    """The image that the slide's first plan declares.

    Raises:
        BadInput: the rig was not measured yet.
    """
    linear = slide_to_upright(profile)
    corners = linear.apply_many([(x, y) for x in _ends(plan, 0) for y in _ends(plan, 1)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    to_mosaic = linear.shifted(Point(-float(low[0]), -float(low[1])))
    spec = profile.camera
    canvas = Canvas(
        width_px=math.ceil(high[0] - low[0]),
        height_px=math.ceil(high[1] - low[1]),
        channels=spec.channels,
        dtype=np.dtype(np.uint8) if spec.bits == 8 else np.dtype(np.uint16),
    )
    return MosaicFrame(to_mosaic, canvas, _lattice(profile, plan, to_mosaic))


def slide_to_upright(profile: Profile) -> Affine:
    """Slide µm → upright camera px, without offset: the camera's rotation and scale, flips undone."""
    matrix = camera_to_slide(profile)
    turns = quarter_turns_and_flips(matrix.tolist())
    upright_to_slide = matrix @ np.linalg.inv(turns)
    return Affine.from_array(Space.SLIDE, Space.MOSAIC, np.linalg.inv(upright_to_slide))


def tile_px(profile: Profile) -> tuple[int, int]:
    """(h, w) of an upright frame."""
    turns = quarter_turns_and_flips(camera_to_slide(profile).tolist())
    size = profile.camera.height_px, profile.camera.width_px
    return size if turns[0, 0] else (size[1], size[0])


def _ends(plan: Plan, axis: int) -> tuple[float, float]:
    start, length = plan.canvas_um[axis], plan.canvas_um[axis + 2]
    return start, start + length


def _lattice(profile: Profile, plan: Plan, to_mosaic: Affine) -> Lattice:
    h, w = tile_px(profile)
    centre = to_mosaic.apply(plan.grid.centre(0, 0))
    across = to_mosaic.apply_vector(Point(plan.grid.step_um[0], 0.0))
    down = to_mosaic.apply_vector(Point(0.0, plan.grid.step_um[1]))
    return Lattice(Point(centre.x - w / 2, centre.y - h / 2), across, down, (h, w))
