"""What was done to the light of a slide's image, for its report and for the image itself?"""

import base64
from pathlib import Path

from scanner.model.events import Json, Kind
from scanner.model.profile import Profile
from scanner.model.report import LightUsed
from scanner.storage.facts import PlacedFact
from scanner.storage.ledger import LedgerProtocol
from scanner.storage.light_facts import BackgroundFact, FlatFieldFact

ASSUMED = "sRGB, assumed"


def light_used(ledger: LedgerProtocol, slide_id: str) -> LightUsed:
    """From the facts; what is not in them was not done."""
    flat, background = (ledger.latest(kind, slide_id) for kind in (Kind.FLAT_FIELD, Kind.BACKGROUND))
    field = FlatFieldFact.from_body(flat.body) if flat else None
    ground = BackgroundFact.from_body(background.body) if background else None
    placed = [PlacedFact.from_body(event.body) for event in ledger.events(Kind.PLACED, slide_id)]
    balance = None
    if ground is not None and ground.level is not None and ground.white is not None:
        balance = tuple(round(ground.white / one, 6) for one in ground.level)
    tiles = {fact.tile: fact.gain[1 if len(fact.gain) == 3 else 0] for fact in placed if fact.gain}
    base = 1.0 if balance is None else balance[1 if len(balance) == 3 else 0]
    gains = [gain / base for gain in tiles.values()]
    return LightUsed(
        flat_field=field.source.value if field else "none",
        flat_field_sigma=field.sigma if field else None,
        flat_field_doubt=field.doubt if field else "",
        white_balance=balance,
        background=ground.white if ground and balance else None,
        background_from=ground.source.value if ground else "none",
        background_why=ground.why if ground else "",
        tile_gains=(round(min(gains), 4), round(max(gains), 4)) if gains else None,
    )


def image_facts(used: LightUsed, profile: Profile, profile_path: Path | None) -> dict[str, Json]:
    """What the image keeps of it, under ``rackscan``; the colour profile is kept, nothing is converted with it."""
    white: dict[str, Json] = {
        "background": used.background,
        "gains": None if used.white_balance is None else list(used.white_balance),
        "from": used.background_from,
        "why": used.background_why,
    }
    flat: dict[str, Json] = {"source": used.flat_field, "sigma": used.flat_field_sigma}
    gains: Json = None if used.tile_gains is None else list(used.tile_gains)
    colour = _colour_profile(profile, profile_path)
    return {"flat_field": flat, "white_balance": white, "tile_gains": gains, "colour_profile": colour}


def _colour_profile(profile: Profile, profile_path: Path | None) -> dict[str, Json]:
    name = profile.image.colour_profile
    if name is None or profile_path is None:
        return {"name": ASSUMED}
    data = (profile_path.parent / name).read_bytes()
    return {"name": name, "icc_base64": base64.b64encode(data).decode("ascii")}
