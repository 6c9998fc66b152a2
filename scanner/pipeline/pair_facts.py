"""How does what was measured between neighbouring tiles become a fact, bit for bit?"""

from dataclasses import asdict

from scanner.errors import DamagedRun
from scanner.model.events import Body, Json
from scanner.pipeline.registration import PairMeasurement

Pairs = list[tuple[int, PairMeasurement]]


def pairs_to_body(pairs: Pairs) -> Body:
    """All pairs of one tile with its neighbours; JSON keeps floats exactly."""
    listed: list[Json] = [{"other": other, **asdict(pair)} for other, pair in pairs]
    return {"pairs": listed}


def pairs_from_body(body: Body) -> Pairs:
    """The pairs of a ``pairs`` fact.

    Raises:
        DamagedRun: the body holds something else.
    """
    try:
        rows = [dict(row) for row in body["pairs"]]  # type: ignore[union-attr, arg-type]  # checked by what follows
        return [(row.pop("other"), PairMeasurement(**row)) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedRun(f"the ledger holds pairs that are none: {error}") from error
