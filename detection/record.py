"""On what grounds may a slide be excluded? A record of how one detector did on slides of one rig."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detection.errors import PackageError

SUFFIX = ".evaluation.json"


class TakenAgain(BaseModel):
    """So many of the most suspicious cells were read a second time, from ``layers`` planes ``layer_step_um`` apart."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    cells: int = Field(ge=1)
    layers: int = Field(ge=1)
    layer_step_um: float = Field(gt=0)


class EvaluationRecord(BaseModel):
    """A measured operating point; it holds for this detector on this rig and for nothing else.

    Attributes:
        detector: hash of the package that was measured.
        profile: name of the rig's profile.
        rig: hash of what the detector sees of the rig (camera and objective).
        again: which cells of a slide were taken again, None where each was seen once.
        operating_point: a slide score under it may be excluded; 0 where none may.
        urgent_point: a slide score at or over it with a high-grade cell is urgent.
        slides: how many slides were measured, by truth.
        data: which slides those were, in words.
        command: what measures it again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    detector: str = Field(pattern=r"^[0-9a-f]{64}$")
    profile: str
    rig: str
    again: TakenAgain | None = None
    operating_point: float = Field(ge=0, le=1)
    urgent_point: float = Field(ge=0, le=1)
    slides: dict[str, int]
    auc: float | None
    auc_ci95: tuple[float, float] | None
    sensitivity: float = Field(ge=0, le=1)
    excluded: float = Field(ge=0, le=1)
    data: str
    command: str

    @property
    def excludes(self) -> bool:
        """May any slide be excluded on its grounds?"""
        return self.operating_point > 0


def read_records(folder: Path) -> tuple[EvaluationRecord, ...]:
    """All ``*.evaluation.json`` of a folder, such as the one a profile lies in.

    Raises:
        PackageError: where one of them is not a record.
    """
    records = []
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            records.append(EvaluationRecord.model_validate_json(file.read_bytes()))
        except ValidationError as error:
            raise PackageError(str(file), [f"is not an evaluation record: {error}"]) from error
    return tuple(records)


def matching(
    records: Sequence[EvaluationRecord],
    detector: str,
    profile: str,
    rig: str,
    again: TakenAgain | None = None,
) -> EvaluationRecord | None:
    """The record made with exactly this detector on exactly this rig, None without one.

    Where cells are taken ``again`` it is the one that was made so, or else the one for which each was seen once.
    """
    own = [r for r in records if (r.detector, r.profile, r.rig) == (detector, profile, rig)]
    return next((r for way in (again, None) for r in own if r.again == way), None)
