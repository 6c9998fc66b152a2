"""What is a search sent, and what can it answer?"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autofocus.detail import Detail, detail, energy_of
from autofocus.gray import Image
from autofocus.height import HeightEstimate
from autofocus.view import FINE_UM, Blocks, View, blocks_of

FloatArray = NDArray[np.float64]

TEACHER_OF_NOISE = 8.0


class Look:
    """What was seen at one height; ``z_um`` is where the stage reported to be.

    ``read`` gives the frame, as late as a search wants to know it: a sweep goes on while its frames are read out.
    """

    def __init__(self, z_um: float, read: Callable[[], Image], um_per_px: float = FINE_UM) -> None:
        self.z_um = z_um
        self._read = read
        self.um_per_px = um_per_px
        self._measured: tuple[Blocks, Detail] | None = None

    @classmethod
    def known(cls, z_um: float, image: Image, um_per_px: float = FINE_UM) -> "Look":
        """At a frame that was read already."""
        return cls(z_um, lambda: image, um_per_px)

    @cached_property
    def image(self) -> Image:
        """The frame itself; waits until it is read out."""
        return self._read()

    @cached_property
    def view(self) -> View:
        """The frame, made ready for comparing."""
        return View(self.image, self.um_per_px)

    @cached_property
    def blocks(self) -> Blocks:
        """Where this frame alone shows what must be sharp."""
        return blocks_of([self.view])

    @cached_property
    def energy(self) -> float:
        """Detail of the whole field."""
        return energy_of(self.view)

    def detail_in(self, blocks: Blocks) -> Detail:
        """How much detail it shows there; the last answer is kept."""
        if blocks.part_of is not None:
            whole, which = blocks.part_of
            return self.detail_in(whole).of(which)
        if self._measured is None or self._measured[0] is not blocks:
            self._measured = blocks, detail(self.view, blocks)
        return self._measured[1]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The detail of the same blocks at n heights: z_um (n,), energy and sigma (n, k, 4) float64."""

    z_um: FloatArray
    energy: FloatArray
    sigma: FloatArray

    @classmethod
    def of(cls, looks: Sequence[Look], blocks: Blocks) -> "Sweep":
        """Measure every frame."""
        seen = [look.detail_in(blocks) for look in looks]
        z_um = np.array([look.z_um for look in looks], float)
        return cls(z_um, np.array([d.energy for d in seen]), np.array([d.sigma for d in seen]))

    @property
    def strong(self) -> NDArray[np.int64]:
        """The blocks that stand far out of the noise at their sharpest: what a template is learned from."""
        clear = self.energy[..., 1] > TEACHER_OF_NOISE * self.sigma[..., 1]
        return np.flatnonzero(clear.any(axis=0))

    @property
    def teachers(self) -> int:
        """How many blocks a template could be learned from."""
        return len(self.strong)


@dataclass(frozen=True, slots=True)
class Found:
    """The field is sharp at ``z_um`` ± ``sigma_um`` (1 sigma); ``note`` is what a person should know of it."""

    z_um: float
    sigma_um: float
    frames: int
    estimate: HeightEstimate
    sweep: Sweep | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class NoSample:
    """There is nothing here to focus on."""

    reason: str
    frames: int


@dataclass(frozen=True, slots=True)
class Refused:
    """There is sample, and no height that could be trusted."""

    reason: str
    frames: int


Answer = Found | NoSample | Refused
Search = Generator[float, Look, Answer]


def run(search: Search, look: Callable[[float], Look]) -> Answer:
    """Drive a search with a function that looks at a height."""
    wanted = next(search)
    while True:
        try:
            wanted = search.send(look(wanted))
        except StopIteration as done:
            answer: Answer = done.value
            return answer
