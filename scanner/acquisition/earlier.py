"""What did an earlier session of this run already do with a slide? The ledger says; nothing is guessed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from scanner.acquisition.identity import Identity
from scanner.errors import DamagedRun
from scanner.model.events import Body, Json, Kind
from scanner.model.geometry import Affine, Space
from scanner.model.plan import Plan
from scanner.model.report import Outcome
from scanner.model.tile import EndOfPlan, Tile
from scanner.storage.facts import frame_from_body, plan_from_body, tile_from_body, tile_key
from scanner.storage.ledger import LedgerProtocol
from scanner.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class Decided:
    """A slide whose outcome is known before any tile of it."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """``tiles`` by ``tile_key``, as facts; ``captured``: the stage has nothing more to do for it."""

    slide_id: str
    identity: Identity | None
    stage_to_slide: Affine | None
    decided: Decided | None
    plans: tuple[Plan, ...]
    tiles: Mapping[str, Body]
    captured: bool
    unloaded: bool
    finished: bool

    @classmethod
    def of(cls, ledger: LedgerProtocol, slide_id: str) -> "Earlier":
        """Everything the ledger holds of a slide; nothing at all for a new one."""
        identity = ledger.latest(Kind.IDENTITY, slide_id)
        seated = ledger.latest(Kind.SEATED, slide_id)
        fault = ledger.latest(Kind.SLIDE_FAULT, slide_id)
        return cls(
            slide_id=slide_id,
            identity=Identity.model_validate(identity.body) if identity else None,
            stage_to_slide=affine_from_body(seated.body) if seated else None,
            decided=_decided(fault.body) if fault else None,
            plans=tuple(plan_from_body(event.body) for event in ledger.events(Kind.PLAN, slide_id)),
            tiles={event.key: event.body for event in ledger.events(Kind.TILE, slide_id)},
            captured=any(
                ledger.latest(kind, slide_id) for kind in (Kind.SLIDE_CAPTURED, Kind.SLIDE_UNLOADED)
            ),
            unloaded=ledger.latest(Kind.SLIDE_UNLOADED, slide_id) is not None,
            finished=ledger.latest(Kind.SLIDE_FINISHED, slide_id) is not None,
        )

    def tile(self, key: str, spool: Spool) -> Tile:
        """A captured tile; its frame is None where no step needs the pixels any more."""
        body = self.tiles[key]
        tile = tile_from_body(body)
        place = (self.slide_id, tile.planned.tile, tile.plan, tile.attempt)
        if not spool.has(*place, layer=tile.layer):
            return tile
        return tile_from_body(body, frame_from_body(body, spool.get(*place, tile.content, tile.layer)))

    def recalled(self, plan: Plan, spool: Spool) -> Iterator[Tile]:
        """The tiles of a plan that were captured, in its order."""
        keys = [tile_key(tile.tile, plan.number) for tile in plan.tiles]
        return (self.tile(key, spool) for key in keys if key in self.tiles)

    def replayed(self, spool: Spool) -> Iterator[Tile | EndOfPlan]:
        """Everything that was captured, plan by plan."""
        for plan in self.plans:
            yield from self.recalled(plan, spool)
            yield EndOfPlan(plan.number, None)


def affine_to_body(affine: Affine) -> Body:
    """The seating of a slide: stage µm → slide µm."""
    matrix: list[Json] = [list(row) for row in affine.matrix]
    return {"matrix": matrix, "offset": list(affine.offset)}


def affine_from_body(body: Body) -> Affine:
    """The inverse of ``affine_to_body``.

    Raises:
        DamagedRun: the body holds something else.
    """
    try:
        return Affine.from_array(Space.STAGE, Space.SLIDE, body["matrix"], body["offset"])  # type: ignore[arg-type]  # checked by numpy
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DamagedRun(f"the ledger holds a seating that is none: {error}") from error


def _decided(body: Body) -> Decided:
    return Decided(Outcome(str(body["outcome"])), str(body["reason"]))
