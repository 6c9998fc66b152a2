"""What do all values that touch a disk or a person have in common?"""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen, strict record: unknown keys, infinities and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
