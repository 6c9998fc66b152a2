"""At which heights is something exposed for their own sake: how many, how far apart, the middle one in focus?"""

from pydantic import Field, field_validator

from scanner.model.base import Value


class CellCapture(Value):
    """The ``cells`` most suspicious cells of a slide are taken again before it leaves the stage; 0: none are.

    Each at ``layers`` heights ``layer_step_um`` apart, the middle one where the cell's tile was sharp; near cells share
    a field, so that there are at most as many fields as cells.
    """

    cells: int = Field(default=0, ge=0, le=100)
    layers: int = Field(default=9, ge=3, le=33)
    layer_step_um: float = Field(default=1.0, gt=0)

    @field_validator("layers")
    @classmethod
    def _one_layer_is_the_middle(cls, layers: int) -> int:
        return odd(layers)

    @property
    def offsets_um(self) -> tuple[float, ...]:
        """Where the layers lie, µm away from the glass, bottom to top."""
        return offsets_um(self.layers, self.layer_step_um)


def offsets_um(layers: int, step_um: float) -> tuple[float, ...]:
    """An odd number of heights around 0, bottom to top."""
    return tuple(step_um * (n - layers // 2) for n in range(layers))


def odd(layers: int) -> int:
    """The same number.

    Raises:
        ValueError: no layer would be the middle one.
    """
    if layers % 2 == 0:
        raise ValueError(
            f"layers must be odd, such as {layers + 1}: the middle one lies on the focus surface"
        )
    return layers
