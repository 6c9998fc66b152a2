"""How well does focus find the sample's height? Rows for ``scripts/bench focus [--json] [--tiles N]``.

Truth is the simulator's noise-free sharpness of the nuclei, weighted by their area, which no metric here measures; real
stacks are judged by metrics the plane was not chosen with. ``--tiles`` (20,000) is how many tiles of liquid-based
cytology are taken; a tenth of that, of histology.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from autofocus.answers import Answer, Found, run
from autofocus.search import first_point, guided, template_of
from autofocus.template import FocusTemplate
from autofocus.tile import TilePolicy
from autofocus.view import View
from scanner.devices.simulated.field import FieldCamera
from scanner.devices.simulated.specimen import DEPOSIT_CENTRE_UM, BareGlass, CameraGrid
from scanner.model.profile import FocusStrategy
from scanner.model.tile import FocusState
from scripts.bench_stack import real_rows
from scripts.focus_choice_rows import choice_rows
from scripts.focus_depth_rows import depth_rows
from scripts.focus_drift_rows import drift_rows
from scripts.focus_field import Place, SimulatedField
from scripts.focus_fusing_rows import fusing_rows
from scripts.focus_map_rows import map_rows
from scripts.focus_peers import peer_rows
from scripts.focus_scan_rows import scan_rows
from scripts.focus_share import share_of
from scripts.focus_speed_rows import speed_rows
from scripts.focus_tiles import SlideRecord, TileRecord, slide_records

ROOT = Path(__file__).resolve().parents[1]
SEED = 700_003
DEPTH_UM = 0.98
POINTS = 48
FIRST_POINTS = 12
TEXTURED_NUCLEI = 12
DEFAULT_TILES = 20_000
TRADE_TILES = 700
Row = dict[str, Any]


def row(name: str, value: float | str | None, bar: float | None, met: bool | None) -> Row:
    """One line of the bench."""
    shown = round(value, 4) if isinstance(value, float) else value
    return {"name": name, "value": shown, "bar": bar, "met": met}


def at_most(name: str, value: float, bar: float) -> Row:
    """A row whose value must not exceed its bar."""
    return row(name, value, bar, value <= bar)


def at_least(name: str, value: float, bar: float) -> Row:
    """A row whose value must reach its bar."""
    return row(name, value, bar, value >= bar)


def rare(name: str, hits: int, of: int, bar: float) -> Row:
    """A share that must stay under its bar; none among too few proves nothing (the rule of three), and is not met."""
    proven = hits > 0 or of * bar >= 3
    share = hits / max(of, 1)
    return row(f"{name}, of {of}", share, bar, share <= bar if proven else None)


def point_rows(field: SimulatedField) -> list[Row]:
    """Searches without and with a prior, on fields with texture enough for a point of the map."""
    places = [p for p in field.random_places(6 * POINTS) if field.truth(p).nuclei >= TEXTURED_NUCLEI][:POINTS]
    blind = [
        (p, run(first_point(field.base_um(p) + field.rng.uniform(-12, 12), 15.0, DEPTH_UM), field.look(p)))
        for p in places[:FIRST_POINTS]
    ]
    sweeps = [a.sweep for _, a in blind if isinstance(a, Found) and a.sweep is not None]
    template = template_of(sweeps, FocusTemplate.from_optics(DEPTH_UM))
    led = [
        (p, run(guided(template, field.base_um(p) + field.rng.normal(0, 0.5), 0.5, DEPTH_UM), field.look(p)))
        for p in places
    ]
    first, then = errors_of(field, blind), errors_of(field, led)
    return [
        at_most("first point, ± 15 µm unknown: p95 error, µm", float(np.quantile(first, 0.95)), 0.25),
        at_most("first point: most frames", max(float(a.frames) for _, a in blind), 20.0),
        row("first point: refused or empty", float(len(blind) - len(first)), None, None),
        at_most("guided point: p95 error, µm", float(np.quantile(then, 0.95)), 0.20),
        row("guided point: median error, µm", float(np.median(then)), None, None),
        row("guided point: p95 error of the layer's height, µm", layer_error(field, led), None, None),
        row("guided point: least share of its field's sharpness", least_reached(field, led), None, None),
        at_most("guided point: mean frames", float(np.mean([a.frames for _, a in led])), 4.0),
        row(f"guided point: refused or empty, of {len(led)}", float(len(led) - len(then)), None, None),
    ]


def errors_of(field: SimulatedField, answers: Iterable[tuple[Place, Answer]]) -> list[float]:
    """How far the found heights lie from the fields' own peaks, µm."""
    found = [(place, answer.z_um) for place, answer in answers if isinstance(answer, Found)]
    return [abs(z_um - field.truth(place).peak_um) for place, z_um in found]


def layer_error(field: SimulatedField, answers: Iterable[tuple[Place, Answer]]) -> float:
    """The height that the map learns against the mean height of the nuclei, 95 % below, µm."""
    found = [(p, a.estimate.level_um[0]) for p, a in answers if isinstance(a, Found)]
    return float(np.quantile([abs(z_um - field.truth(p).level_um) for p, z_um in found], 0.95))


def least_reached(field: SimulatedField, answers: Iterable[tuple[Place, Answer]]) -> float:
    """The worst sharpness, relative to the field's own peak, at a found height."""
    return min(field.truth(p).at(a.z_um) for p, a in answers if isinstance(a, Found))


def tile_rows(kind: str, sharp_bar: float, tiles: int) -> list[Row]:
    """Whole slides with the strategy ``hybrid``."""
    records: list[SlideRecord] = []
    for record in slide_records(kind, tiles, FocusStrategy.HYBRID, SEED):
        records.append(record)
        print(f"{kind}: {sum(len(r.tiles) for r in records)} of {tiles} tiles", file=sys.stderr)
    taken = [tile for record in records for tile in record.tiles]
    return [*quality_rows(kind, taken, sharp_bar), *cost_rows(kind, records, taken)]


def quality_rows(kind: str, taken: Sequence[TileRecord], sharp_bar: float) -> list[Row]:
    """What is true of the tiles, and what was said of them."""
    held = [tile for tile in taken if tile.nuclei]
    soft = [tile for tile in held if tile.soft]
    sharp = [tile for tile in held if not tile.soft]
    unreadable = sum(tile.reached < 0.5 for tile in held)
    return [
        at_least(f"{kind}: tiles sharp, of {len(held)} with sample", 1 - len(soft) / len(held), sharp_bar),
        row(f"{kind}: the same before the second plan", sharp_at_first(held), None, None),
        rare(f"{kind}: unreadable after the second plan", unreadable, len(held), 1 / 5000),
        rare(f"{kind}: soft without a flag", sum(not t.flagged for t in soft), len(taken), 0.0005),
        rare(f"{kind}: sharp ones flagged", sum(t.flagged for t in sharp), len(sharp), 0.02),
        rare(f"{kind}: with a cell called no sample", called_empty(held), len(held), 0.001),
    ]


def sharp_at_first(held: Sequence[TileRecord]) -> float:
    """Share of tiles sharp at their first capture."""
    return float(np.mean([tile.first_reached >= 0.9 for tile in held]))


def called_empty(held: Sequence[TileRecord]) -> int:
    """Tiles with nuclei that were called empty."""
    return sum(tile.state is FocusState.NO_SAMPLE for tile in held)


def cost_rows(kind: str, records: Sequence[SlideRecord], taken: Sequence[TileRecord]) -> list[Row]:
    """What it cost."""
    cpu = 1000 * sum(record.cpu_s for record in records) / len(taken)
    return [
        at_most(f"{kind}: planes a tile", float(np.mean([tile.planes for tile in taken])), 4.0),
        rare(f"{kind}: tiles taken again", sum(tile.retaken for tile in taken), len(taken), 0.005),
        at_most(f"{kind}: focusing's share of scan time", share_of(records), 0.25),
        row(f"{kind}: CPU of deciding and judging, ms a tile", cpu, None, None),
    ]


def trade_rows(tiles: int) -> list[Row]:
    """What share of the time buys what sharpness: from one plane at the map's height to a look at every tile."""
    settings = {
        "map, one plane": (FocusStrategy.MAP, None),
        "two planes, never looked at": (FocusStrategy.HYBRID, TilePolicy(crowded_share=0.0)),
        "hybrid, looks below 20 nuclei": (FocusStrategy.HYBRID, TilePolicy(crowded_share=0.07)),
        "hybrid, as it ships": (FocusStrategy.HYBRID, None),
        "every tile looked at": (FocusStrategy.EVERY_TILE, None),
    }
    rows = []
    for name, (strategy, policy) in settings.items():
        records = list(slide_records("cytology", tiles, strategy, SEED + 500, policy))
        held = [tile for record in records for tile in record.tiles if tile.nuclei]
        sharp = 1 - sum(tile.soft for tile in held) / len(held)
        rows.append(row(f"cytology, {name}: sharp at share {share_of(records):.3f}", sharp, None, None))
    return rows


def sample_rows(field: SimulatedField, frames: int = 3000) -> list[Row]:
    """Empty glass taken for sample."""
    camera = FieldCamera(SEED, CameraGrid())
    glass = (camera.expose(BareGlass(), DEPOSIT_CENTRE_UM, 0.0, 5.0, n) for n in range(frames))
    taken = sum(View(frame).has_sample for frame in glass)
    return [rare("empty fields taken for sample", taken, frames, 0.001)]


def tiles_asked_for() -> int:
    """What ``--tiles`` says."""
    return int(sys.argv[sys.argv.index("--tiles") + 1]) if "--tiles" in sys.argv else DEFAULT_TILES


def all_rows(tiles: int) -> Iterator[Row]:
    """Row by row: the whole takes an hour."""
    field = SimulatedField(SEED)
    yield from point_rows(field)
    yield from tile_rows("cytology", 0.99, tiles)
    yield from tile_rows("histology", 0.995, max(tiles // 10, 1))
    yield from trade_rows(min(tiles, TRADE_TILES))
    yield from peer_rows(field)
    yield from sample_rows(field)
    for rows in (
        map_rows,
        scan_rows,
        choice_rows,
        drift_rows,
        depth_rows,
        fusing_rows,
        speed_rows,
        real_rows,
    ):
        yield from rows()


def main() -> None:
    """Print the rows, as a table or as JSON."""
    cv2.setNumThreads(1)
    rows = all_rows(tiles_asked_for())
    if "--json" in sys.argv:
        print(json.dumps({"rows": list(rows)}))
        return
    for line in rows:
        mark = {True: "met", False: "short", None: ""}[line["met"]]
        bar = f" (bar {line['bar']}) {mark}" if line["bar"] is not None else ""
        print(f"{line['name']}: {line['value']}{bar}", flush=True)


if __name__ == "__main__":
    main()
