"""A scan that is killed at a moment a test chooses: before or after the ledger holds a certain fact.

``python -m tests.scanner.kills WHEN KIND KEY run --profile …`` is ``rackscan run --profile …`` until then.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from scanner.cli import main
from scanner.model.events import Body, Event, Kind
from scanner.storage.ledger import Ledger

PROFILES = Path(__file__).parents[2] / "hardware_profiles"


def own_rig(folder: Path) -> Path:
    """A simulated microscope of this test's own."""
    shutil.copytree(PROFILES, folder / "rig", ignore=shutil.ignore_patterns("*.state.json*"))
    return folder / "rig" / "simulated.yaml"


def change(profile: Path, setting: str, value: str) -> None:
    """Give a simulated device of the rig another property, such as ``Faults,Plan``."""
    cfg = profile.with_suffix(".cfg")
    text, count = re.subn(rf"(#py Property,{setting},).*", rf"\g<1>{value}", cfg.read_text(encoding="utf-8"))
    assert count == 1
    cfg.write_text(text, encoding="utf-8")


def killed_run(folder: Path, moment: tuple[str, Kind, str], *asked: str) -> Path:
    """The run folder of a scan of one slide, killed when its ledger meets a fact of a kind and a key."""
    out = folder / "run"
    command = ["run", "--profile", str(own_rig(folder)), "--slides", "1", "--seed", "3", *asked]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.scanner.kills", *moment, *command, "--out", str(out)],
        cwd=PROFILES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return out


class DyingLedger(Ledger):
    """A ledger whose program is killed at one fact."""

    moment = ("", "", "")

    def append(self, kind: Kind, slide_id: str, key: str, body: Body) -> Event:
        """As ``Ledger.append``, if the program lives."""
        self._live_through("before", kind, key)
        event = super().append(kind, slide_id, key, body)
        self._live_through("after", kind, key)
        return event

    def _live_through(self, when: str, kind: Kind, key: str) -> None:
        if (when, kind.value, key) == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    when, kind, key, *sys.argv[1:] = sys.argv[1:]
    DyingLedger.moment = when, kind, key
    Ledger.open = DyingLedger.open  # type: ignore[method-assign]  # every ledger of this program is one that dies
    main()
