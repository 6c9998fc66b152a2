"""How does what happened become a fact of the ledger, and a fact what happened, without losing a bit?"""

import math
from typing import Annotated, Self, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationError

from scanner.errors import DamagedRun
from scanner.model.base import Value
from scanner.model.events import Body
from scanner.model.plan import Plan, PlannedTile
from scanner.model.tile import FocusState, Frame, Judged, Layer, Pixels, Tile, TileFocus

IMAGE = "image"


def _finite_or_unknown(value: float) -> float:
    if math.isnan(value) or value == -math.inf:
        raise ValueError("is neither a number nor unknown")
    return value


Unbounded: TypeAlias = Annotated[
    float,
    Field(allow_inf_nan=True),
    BeforeValidator(lambda value: math.inf if value is None else value),
    AfterValidator(_finite_or_unknown),
    PlainSerializer(lambda value: None if value == math.inf else value),
]
"""A σ: "nothing is known" is infinity, which JSON does not have; it is written as null."""


class Fact(Value):
    """A body of the ledger with names and types."""

    def body(self) -> Body:
        """As the ledger keeps it; floats are exact."""
        return cast(Body, self.model_dump(mode="json"))

    @classmethod
    def from_body(cls, body: Body) -> Self:
        """The fact a body holds.

        Raises:
            DamagedRun: the body is not one of these facts.
        """
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise DamagedRun(f"the ledger holds something else than a {cls.__name__}: {error}") from error


class FrameFact(Fact):
    """What is known of a frame beside its pixels: stage µm, z µm, seconds since the slide's scan began."""

    x_um: float
    y_um: float
    z_um: float
    t_trigger_s: float
    t_read_s: float


class FocusFact(Fact):
    """A tile's own focus answer."""

    state: FocusState
    z_um: float
    sigma_um: Unbounded
    best_z_um: float | None
    reason: str
    level_um: float | None = Field(default=None, exclude_if=lambda level: level is None)
    level_sigma_um: float | None = Field(default=None, exclude_if=lambda sigma: sigma is None)
    again: bool = Field(default=True, exclude_if=lambda again: again)


class LayerFact(Fact):
    """One height of a tile's stack."""

    z_um: float
    t_trigger_s: float
    t_read_s: float
    content: str


class TileFact(Fact):
    """Kind ``tile``: one capture, its pixels in the spool under (slide, tile, plan, attempt).

    With ``layers`` there is a frame for each of them, and ``content`` is that of the sharpest.
    """

    planned: PlannedTile
    plan: int
    attempt: int
    frame: FrameFact | None
    content: str
    reported_x_um: float
    reported_y_um: float
    focus: FocusFact
    frames: int
    layers: tuple[LayerFact, ...] = Field(default=(), exclude_if=lambda layers: not layers)


class TileFailedFact(Fact):
    """Kind ``tile-failed``: a planned tile that has no frame, and why."""

    tile: int
    plan: int
    attempt: int
    reason: str


class PlacedFact(Fact):
    """Kind ``placed``: where a tile's top-left pixel lies, mosaic px; ``held`` where no neighbour could speak.

    ``gain``: what each channel is multiplied with when the tile is drawn, absent where nothing is.
    """

    tile: int
    plan: int
    x_px: float
    y_px: float
    held: bool
    sigma_px: Unbounded
    gain: tuple[float, ...] | None = Field(default=None, exclude_if=lambda gain: gain is None)


class FusedFact(Fact):
    """Kind ``fused``: a tile's planes were fused into one; the hash of what came out."""

    tile: int
    plan: int
    content: str


class BlockFact(Fact):
    """Kind ``block``: one written shard of an image, and the SHA-256 of its file.

    ``image`` is its folder's name without ``.ome.zarr``; ``z`` the layer where the image has layers.
    """

    level: int
    row: int
    col: int
    sha256: str
    image: str = Field(default=IMAGE, exclude_if=lambda image: image == IMAGE)
    z: int | None = Field(default=None, exclude_if=lambda z: z is None)

    @property
    def key(self) -> str:
        """The ledger's key of the block."""
        return block_key(self.level, self.row, self.col, self.image, self.z)


class TileFinishedFact(Fact):
    """Kind ``tile-finished``: what was judged of a tile whose pixels no step needs any longer."""

    tile: int
    plan: int
    quality: float
    sample_share: float
    sample_edges: tuple[bool, bool, bool, bool]


def plan_key(number: int) -> str:
    """The ledger's key of a plan, and of having captured it."""
    return str(number)


def tile_key(tile: int, plan: int) -> str:
    """The ledger's key of what may happen once to a tile in a plan."""
    return f"{tile}.{plan}"


def key_tile(key: str) -> tuple[int, int]:
    """The tile and the plan of such a key.

    Raises:
        DamagedRun: it is none.
    """
    try:
        tile, plan = key.split(".")
        return int(tile), int(plan)
    except ValueError as error:
        raise DamagedRun(f"the ledger has a key {key!r} where one of a tile belongs") from error


def block_key(level: int, row: int, col: int, image: str = IMAGE, z: int | None = None) -> str:
    """The ledger's key of a block of an image; of the slide's own image without layers, its place alone."""
    named = "" if image == IMAGE else f"{image}."
    return f"{named}{level}.{row}.{col}" + ("" if z is None else f".z{z}")


def tile_to_body(tile: Tile) -> Body:
    """A captured tile without its pixels.

    Raises:
        ValueError: a number is NaN or infinite (σ may be infinite).
    """
    frame, focus = tile.frame, tile.focus
    fact = TileFact(
        planned=tile.planned,
        plan=tile.plan,
        attempt=tile.attempt,
        frame=None if frame is None else FrameFact(**{name: getattr(frame, name) for name in _FRAME_FIELDS}),
        content=tile.content,
        reported_x_um=tile.reported_x_um,
        reported_y_um=tile.reported_y_um,
        focus=FocusFact(**{name: getattr(focus, name) for name in FocusFact.model_fields}),
        frames=tile.frames,
        layers=tuple(
            LayerFact(**{name: getattr(layer, name) for name in _LAYER_FIELDS}) for layer in tile.layers
        ),
    )
    return fact.body()


_LAYER_FIELDS = tuple(LayerFact.model_fields)
_FRAME_FIELDS = tuple(FrameFact.model_fields)


def tile_from_body(body: Body, frame: Frame | None = None) -> Tile:
    """The tile of a ``tile`` fact; give it its frame where the spool still holds the pixels.

    Raises:
        DamagedRun: the body is no tile.
    """
    fact = TileFact.from_body(body)
    focus = TileFocus(**{name: getattr(fact.focus, name) for name in FocusFact.model_fields})
    return Tile(
        planned=fact.planned,
        plan=fact.plan,
        attempt=fact.attempt,
        frame=frame,
        content=fact.content,
        reported_x_um=fact.reported_x_um,
        reported_y_um=fact.reported_y_um,
        focus=focus,
        frames=fact.frames,
        layers=tuple(Layer(**layer.model_dump()) for layer in fact.layers),
    )


def frame_from_body(body: Body, pixels: Pixels) -> Frame | None:
    """The frame of a ``tile`` fact with its pixels put back; None where the fact holds none.

    Raises:
        DamagedRun: the body is no tile.
    """
    fact = TileFact.from_body(body).frame
    return None if fact is None else Frame(pixels=pixels, **fact.model_dump())


def finished_to_body(judged: Judged) -> Body:
    """What was judged of a tile."""
    fact = TileFinishedFact(
        tile=judged.tile.planned.tile,
        plan=judged.tile.plan,
        quality=judged.quality,
        sample_share=judged.sample_share,
        sample_edges=judged.sample_edges,
    )
    return fact.body()


def plan_to_body(plan: Plan) -> Body:
    """A plan as it was validated."""
    return cast(Body, plan.model_dump(mode="json"))


def plan_from_body(body: Body) -> Plan:
    """The plan of a ``plan`` fact.

    Raises:
        DamagedRun: the body is no plan.
    """
    try:
        return Plan.model_validate(body)
    except ValidationError as error:
        raise DamagedRun(f"the ledger holds a plan that is none: {error}") from error
