"""What holds now of all that people said about the findings of a run?"""

from collections import Counter
from pathlib import Path

from scanner.model.base import Value
from scanner.model.correction import Correction, Said, standing
from scanner.storage.reader import RunReader


class SlideWords(Value):
    """The last word on each cell of a slide; ``answers`` counts every time anybody said something."""

    slide_id: str
    answers: int
    by: tuple[str, ...]
    corrections: tuple[Correction, ...]

    def line(self) -> str:
        """How many cells are what."""
        named = Counter(c.name if c.said is Said.CELL else "no cell" for c in self.corrections)
        missed = sum(c.rank is None for c in self.corrections)
        what = ", ".join(f"{n} {name}" for name, n in sorted(named.items())) or "nothing holds"
        more = f"; {missed} that the detector missed" if missed else ""
        return f"{self.slide_id}: {what}{more} (by {', '.join(self.by)})"


class RunWords(Value):
    """``rackscan review list --json``: the slides that anything was said of."""

    run: str
    slides: tuple[SlideWords, ...]

    def lines(self) -> list[str]:
        """One a slide."""
        return [slide.line() for slide in self.slides] or ["nothing was said of this run"]


def said_of(run_dir: Path) -> RunWords:
    """What holds of a run.

    Raises:
        BadInput: it is no run.
        DamagedRun: what was said cannot be read.
    """
    slides = []
    with RunReader.open(run_dir) as reader:
        for slide_id in reader.slides():
            answers = reader.corrections(slide_id)
            if answers:
                by = tuple(sorted({each.by for each in answers}))
                last = tuple(standing(answers).values())
                slides.append(SlideWords(slide_id=slide_id, answers=len(answers), by=by, corrections=last))
        return RunWords(run=reader.folder.settings.run, slides=tuple(slides))
