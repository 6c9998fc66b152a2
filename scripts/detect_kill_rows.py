"""Does a slide lose or double a tile where the detector's process is killed again and again? Rows for the bench.

A slide is scanned once and its tiles kept; then it is read again from them, undisturbed and with the detector's process
killed at random moments until it was killed 50 times: while it starts, while it works, between two tiles.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from scanner.model.events import Kind
from scanner.storage.reader import RunReader
from scripts.rows import Row, row

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / "hardware_profiles" / "simulated.yaml"
REGION = "43,10.5,3.5,3.5"
KILLS = 50
LONGEST_LIFE_S = 2.5
MOST_READINGS = 20


def kill_rows(kills: int = KILLS, region: str = REGION) -> Iterator[Row]:
    """How often it was killed, and what became of tiles and findings."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _rackscan(
            "run",
            "--profile",
            str(PROFILE),
            "--slides",
            "1",
            "--region",
            region,
            "--keep-tiles",
            "--out",
            str(work / "run"),
        )
        _rackscan("replay", str(work / "run"), "--out", str(work / "calm"))
        calm = _findings(work / "calm")
        done, wrong, lost, doubled = 0, 0, 0, 0
        for number in range(MOST_READINGS):
            if done >= kills:
                break
            out = work / f"killed{number}"
            done += _replayed_with_kills(work / "run", out, kills - done, number)
            wrong += _findings(out) != calm
            missing, twice = _counted(out)
            lost, doubled = lost + missing, doubled + twice
    yield row("detector killed during slides", done, kills, done >= kills)
    yield row("tiles that lost their answer", lost, 0, lost == 0)
    yield row("tiles with more than one answer", doubled, 0, doubled == 0)
    yield row("slides whose findings differ from the undisturbed ones", wrong, 0, wrong == 0)


def _rackscan(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scanner.cli", *words, "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode not in {0, 1}:
        raise SystemExit(done.stderr[-2000:])


def _replayed_with_kills(run: Path, out: Path, most: int, seed: int) -> int:
    """Replay a run and kill its detector's process at random moments; how often that was done."""
    rng = random.Random(seed)  # moments, no secrets
    words = [sys.executable, "-m", "scanner.cli", "replay", str(run), "--out", str(out), "--json"]
    killed = 0
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as replaying:
        while replaying.poll() is None and killed < most:
            workers = _workers(replaying.pid)
            if not workers:
                time.sleep(0.02)
                continue
            time.sleep(rng.uniform(0.0, LONGEST_LIFE_S))
            for worker in workers:
                if worker.is_running():
                    worker.kill()
                    killed += 1
        _, said = replaying.communicate()
    if replaying.returncode not in {0, 1}:
        raise SystemExit(said[-2000:])
    return killed


def _workers(pid: int) -> list[psutil.Process]:
    """The processes that a road started, without Python's own helper."""
    try:
        children = psutil.Process(pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def _findings(out: Path) -> str:
    (file,) = (out / "slides").glob("*/findings.parquet")
    return json.dumps(pq.read_table(file).to_pydict(), sort_keys=True)


def _counted(out: Path) -> tuple[int, int]:
    """Tiles without an answer in the ledger, and with several."""
    with RunReader.open(out) as reader:
        (name,) = reader.slides()
        tiles = {event.key for event in reader.ledger.events(Kind.TILE, name)}
        answers = Counter(
            f"{event.body['tile']}.{event.body['plan']}"
            for event in reader.ledger.events(Kind.DETECTED, name)
        )
    return len([tile for tile in tiles if tile not in answers]), len([n for n in answers.values() if n > 1])


if __name__ == "__main__":
    from scripts.rows import tell

    tell(kill_rows())
