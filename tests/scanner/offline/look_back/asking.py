"""How the tests ask for a look back, and read what it wrote."""

import csv
from pathlib import Path

from scanner.offline.look_back.look_back import Asked, look_back
from scanner.offline.look_back.summary import LookBack


def silent(done: int, cases: int, tile: int, tiles: int) -> None:
    """Nobody watches."""


def read(source: Path, out: Path, um_per_px: float | None = 0.5, **asked: object) -> LookBack:
    return look_back(Asked(source, out, um_per_px, **asked), silent)  # type: ignore[arg-type]  # by name


def rows(out: Path, name: str = "discordant.csv") -> list[dict[str, str]]:
    with (out / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def kinds(out: Path) -> dict[str, str]:
    return {row["image"]: row["kind"] for row in rows(out)}
