"""What does a finished run say? The keys of report.json and of ``--json``; other programs read them."""

from enum import StrEnum

from scanner.model.base import Value
from scanner.model.slide import Preparation


class Outcome(StrEnum):
    """What happens to the glass."""

    DONE = "done"
    RERUN = "rerun"
    EMPTY = "empty"
    IDENTITY_CONFLICT = "identity-conflict"
    PROCESS_REVIEW = "process-review"


class Verdict(StrEnum):
    """What happens to the case."""

    NEGATIVE_EXCLUDED = "negative-excluded"
    REVIEW = "review"
    URGENT = "urgent"
    UNSATISFACTORY = "unsatisfactory"
    INCOMPLETE = "incomplete"


class TileCounts(Value):
    """planned = captured + skipped + failed; ``retaken`` counts tiles that a further plan took again."""

    planned: int = 0
    captured: int = 0
    skipped: int = 0
    failed: int = 0
    retaken: int = 0


class Seconds(Value):
    """``scan``: first survey move → last frame. ``floor``: what the hardware alone needs for it.

    ``focus``: the part of the floor that only focusing needs. ``tail``: last frame → everything complete.
    """

    scan: float = 0.0
    floor: float = 0.0
    focus: float = 0.0
    tail: float = 0.0


class SlideResult(Value):
    """One slide of ``rackscan run --json``; ``second_reading``: it could be excluded, and the lot says read it."""

    slot: int
    slide_id: str
    outcome: Outcome
    verdict: Verdict
    image: str | None = None
    tiles: TileCounts = TileCounts()
    seconds: Seconds = Seconds()
    frames_per_tile: float = 0.0
    sample_covered: float | None = None
    cells: int = 0
    peak_bytes: int = 0
    second_reading: bool = False

    @property
    def excluded(self) -> bool:
        """Does nobody need to look at it?"""
        return self.outcome is Outcome.DONE and self.verdict is Verdict.NEGATIVE_EXCLUDED


class RunResult(Value):
    """``rackscan run --json``.

    ``excluded_before`` the second reader, of which it drew some by lot, and ``excluded`` after it: how many slides.
    """

    run: str
    slides: tuple[SlideResult, ...]
    excluded_before: int = 0
    excluded: int = 0

    @classmethod
    def of(cls, run: str, slides: tuple[SlideResult, ...]) -> "RunResult":
        """With the exclusions counted."""
        after = sum(slide.excluded for slide in slides)
        drawn = sum(slide.second_reading and slide.outcome is Outcome.DONE for slide in slides)
        return cls(run=run, slides=slides, excluded_before=after + drawn, excluded=after)


class Quality(Value):
    """Counts of focus states over the accepted tiles, and the pairs that placed them."""

    focus_states: dict[str, int] = {}
    pairs_measured: int = 0
    pairs_held: int = 0
    tiles_held: int = 0


class FocusPointFact(Value):
    """A point of the focus survey: slide µm, its height and how sure."""

    x_um: float
    y_um: float
    z_um: float | None
    sigma_um: float | None
    state: str
    reason: str = ""


class FocusUsed(Value):
    """How the tiles got their heights; ``layers`` 0: one plane a tile is kept."""

    strategy: str = ""
    layers: int = 0
    layer_step_um: float = 0.0


class LightUsed(Value):
    """What was done to the light of the image.

    ``flat_field``: ``profile``, ``scan`` (estimated from its first tiles, half of what two halves of them differ by in
    ``flat_field_sigma``) or ``none``. ``white_balance``: what each channel was multiplied with so that empty glass has
    ``background``, None where it was not; ``tile_gains`` the least and the most by which exposures were evened out.
    """

    flat_field: str = "none"
    flat_field_sigma: float | None = None
    flat_field_doubt: str = ""
    white_balance: tuple[float, ...] | None = None
    background: float | None = None
    background_from: str = "none"
    background_why: str = ""
    tile_gains: tuple[float, float] | None = None


class CellAgain(Value):
    """A cell that was chosen to be taken again.

    ``rank`` of its finding, None where merging kept none; ``field`` that shows it; ``layer`` its sharpest plane, from 0
    at the bottom, ``score_again`` the mean of what the detector says there and in the planes beside it; None, with a
    ``reason``, where it was not read again.
    """

    rank: int | None
    field: int
    score: float
    layer: int | None = None
    score_again: float | None = None
    reason: str = ""


class CellsAgain(Value):
    """Suspicious cells taken again before the slide left: at most ``asked``, in planned = captured + failed ``fields``.

    ``unanswered``: tiles of which the detector had said nothing after ``waited_s`` seconds, so that their cells could
    not be chosen. ``image``, relative to DIR, is None where no field was captured. ``slide_score_once`` is the slide's
    score by first scores alone; ``decides``: the operating point was measured with second scores, and so is the slide.
    """

    asked: int
    layers: int
    layer_step_um: float
    fields_planned: int
    fields_captured: int
    fields_failed: int
    cells: tuple[CellAgain, ...]
    unanswered: tuple[int, ...]
    waited_s: float
    image: str | None
    slide_score_once: float | None = None
    decides: bool = False


class SlideReport(SlideResult):
    """slides/SLOT-RUNID/report.json: the result, its reasons, and what the report page draws.

    ``reasons`` say in words why the verdict and outcome are what they are. ``accession`` stays in the local report.
    ``focus`` names the strategy, and the layers where it takes any; ``edf`` and ``height`` are images of a fused slide,
    relative to DIR as ``image`` is. ``slide_score`` is what ``operating_point`` was held against: where that was
    measured with cells taken again, with their second scores, elsewhere by first scores alone. ``cells_again``: None
    where no cell was to be taken again; ``blood``: share of the sample under blood, None where nobody can tell.
    """

    preparation: Preparation = Preparation.THINPREP
    accession: str | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    slide_score: float | None = None
    operating_point: float | None = None
    detector: str | None = None
    um_per_px: float | None = None
    canvas_um: tuple[float, float, float, float] | None = None
    quality: Quality = Quality()
    focus_points: tuple[FocusPointFact, ...] = ()
    cpu_ms_per_tile: dict[str, float] = {}
    focus: FocusUsed = FocusUsed()
    edf: str | None = None
    height: str | None = None
    light: LightUsed = LightUsed()
    cells_again: CellsAgain | None = None
    blood: float | None = None
