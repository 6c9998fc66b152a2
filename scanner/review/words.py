"""How does the report say in plain words what a verdict, an outcome or a tile's state means?"""

from dataclasses import dataclass

from scanner.model.report import LightUsed, Outcome, Verdict
from scanner.model.tile import FocusState


@dataclass(frozen=True, slots=True)
class Words:
    """A short ``name``, a ``sentence`` that says what to do, and the ``tone`` the page shows it in."""

    name: str
    sentence: str
    tone: str


VERDICTS = {
    Verdict.URGENT: Words(
        "Urgent", "Look at this slide first: it holds cells that look clearly abnormal.", "bad"
    ),
    Verdict.REVIEW: Words("Review", "A person has to look at this slide.", "warn"),
    Verdict.NEGATIVE_EXCLUDED: Words(
        "Negative, excluded",
        "Everything was seen and nothing scored as abnormal as the operating point.",
        "good",
    ),
    Verdict.UNSATISFACTORY: Words(
        "Unsatisfactory", "Too little of the slide can be judged; nothing is said about the case.", "quiet"
    ),
    Verdict.INCOMPLETE: Words(
        "Incomplete", "Part of the slide was not seen; nothing is said about the case.", "quiet"
    ),
}

OUTCOMES = {
    Outcome.DONE: Words("Done", "The glass is finished.", "good"),
    Outcome.RERUN: Words(
        "Scan again", "This scan is not good enough: put the glass back into the rack.", "warn"
    ),
    Outcome.EMPTY: Words("Empty", "There is no sample on the glass, or no glass in the slot.", "quiet"),
    Outcome.IDENTITY_CONFLICT: Words(
        "Identity conflict", "Label and rack file disagree: compare the glass with the request form.", "bad"
    ),
    Outcome.PROCESS_REVIEW: Words(
        "Machine in doubt", "Something went wrong at the microscope: ask whoever looks after it.", "warn"
    ),
}

STATES = {
    FocusState.SHARP.value: Words("sharp", "within half the depth of field of its own best height", "good"),
    FocusState.USABLE.value: Words(
        "usable", "slightly out of focus; the detector was shown to bear it", "warn"
    ),
    FocusState.UNREADABLE.value: Words("unreadable", "too far out of focus to be read", "bad"),
    FocusState.UNMEASURED.value: Words("unmeasured", "no focus answer of its own", "odd"),
    FocusState.NO_SAMPLE.value: Words("no sample", "captured, and nothing there", "quiet"),
    "failed": Words("failed", "no frame could be taken", "bad"),
    "skipped": Words("skipped", "empty in the overview, not captured", "none"),
}


def minutes(seconds: float) -> str:
    """Seconds as a person says them: ``48.2 s``, ``3 min 12 s``, ``1 h 04 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def amount(n: int) -> str:
    """A count with thin spaces between thousands."""
    return f"{n:,}".replace(",", "\u202f")


FIELDS = {
    "profile": "evened out by the profile's flat field",
    "scan": "evened out by what the slide's first tiles showed",
    "none": "as the lamp gave it",
}


def light_words(light: LightUsed) -> str:
    """What was done to the light of the image, in a sentence."""
    field = FIELDS.get(light.flat_field, light.flat_field)
    if light.background is not None:
        return f"{field}; empty glass brought to {light.background:g} in every colour"
    return f"{field}; colours as the camera gave them{f' ({light.background_why})' if light.background_why else ''}"
