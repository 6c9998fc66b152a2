"""Are the layers of a tile centred where it is sharp, and is a stack that missed the sample said to be soft?"""

from pathlib import Path

import numpy as np
import pytest

from autofocus.template import FocusTemplate
from scanner.acquisition.focus import TileFocusing
from scanner.acquisition.focus_survey import Survey
from scanner.acquisition.layers import StackFocusing, layered
from scanner.errors import FocusRefused
from scanner.model.geometry import Rect
from scanner.model.plan import PlannedTile, grid_over, scan_plan
from scanner.model.profile import FocusStrategy, Profile
from scanner.model.report import FocusPointFact
from scanner.model.tile import FocusState, TileFocus
from scanner.storage.profiles import read_profile
from tests.autofocus.fields import Field, cells

PROFILES = Path(__file__).parents[3] / "hardware_profiles"
SURFACE_UM = 3.0
SURVEYED = Survey(
    tuple(
        FocusPointFact(
            x_um=1000.0 * (n % 3), y_um=1000.0 * (n // 3), z_um=SURFACE_UM, sigma_um=0.1, state="found"
        )
        for n in range(5)
    ),
    FocusTemplate.from_optics(0.98),
)


def rig(strategy: FocusStrategy = FocusStrategy.Z_STACK, **focus: object) -> Profile:
    """The shipped simulated rig with another strategy."""
    whole = read_profile(PROFILES / "simulated.yaml")
    return whole.model_copy(update={"focus": whole.focus.model_copy(update={"strategy": strategy, **focus})})


def stacking(profile: Profile) -> StackFocusing:
    return StackFocusing(TileFocusing(profile, SURVEYED), profile, profile.focus.layer_offsets_um)


def planned(tile: int = 0, z_um: float | None = None) -> PlannedTile:
    return PlannedTile(tile=tile, row=0, col=tile, x_um=1000.0, y_um=500.0, z_um=z_um)


def take(focusing: StackFocusing, tile: PlannedTile, field: Field) -> tuple[int, TileFocus, list[float]]:
    heights = list(focusing.planes(tile))
    return *focusing.judged(tile, [field.look(z) for z in heights]), heights


def test_layers_lie_at_the_same_offsets_from_the_surface_bottom_to_top() -> None:
    heights = np.array(stacking(rig()).planes(planned()))
    assert heights - SURFACE_UM == pytest.approx(np.arange(-4.0, 5.0), abs=0.05)


def test_on_a_rig_whose_z_points_down_the_lowest_layer_still_comes_first() -> None:
    profile = rig(layers=3)
    sign = profile.measured.z_sign
    assert sign is not None
    down = profile.measured.model_copy(update={"z_sign": sign.model_copy(update={"value": -1})})
    turned = profile.model_copy(update={"measured": down})
    assert np.diff(stacking(turned).planes(planned())) == pytest.approx([-1.0, -1.0])


def test_the_sharpest_layer_is_the_nearest_to_the_tiles_own_height() -> None:
    index, focus, heights = take(stacking(rig()), planned(), cells(12, 4.2, 0.3, seed=1))
    assert focus.state is FocusState.SHARP
    assert focus.best_z_um is not None
    assert index == int(np.argmin(np.abs(np.array(heights) - focus.best_z_um)))
    assert focus.z_um == heights[index]
    assert f"layer {index + 1} of 9" in focus.reason


@pytest.mark.parametrize("at_um", [6.8, 8.0])
def test_a_sample_at_or_beyond_the_edge_of_the_stack_is_soft_and_taken_again_around_it(at_um: float) -> None:
    focusing = stacking(rig(layers=7))
    field = cells(12, SURFACE_UM + at_um - 4, 0.2, seed=2)
    _, focus, _ = take(focusing, planned(), field)
    assert focus.state.soft
    assert focus.best_z_um is not None
    assert "edge of the stack" in focus.reason
    _, again, heights = take(focusing, planned(z_um=focus.best_z_um), field)
    assert np.mean(heights) == pytest.approx(focus.best_z_um, abs=0.3)
    assert again.state is FocusState.SHARP


def test_an_empty_field_keeps_its_middle_layer() -> None:
    index, focus, heights = take(stacking(rig()), planned(), cells(0, SURFACE_UM, 0.2, seed=3))
    assert (index, focus.state) == (4, FocusState.NO_SAMPLE)
    assert focus.z_um == heights[4]


def test_what_a_stack_says_moves_the_surface_for_the_next_tile() -> None:
    focusing = stacking(rig())
    before = np.mean(focusing.planes(planned(1)))
    take(focusing, planned(), cells(12, SURFACE_UM + 1.0, 0.2, seed=4))
    assert np.mean(focusing.planes(planned(1))) > before + 0.2


def test_a_plan_with_a_layer_beyond_the_limits_is_refused_before_its_first_move() -> None:
    grid, rows, cols = grid_over(Rect(0, 0, 1500, 1000), (512.0, 512.0), 0.1)
    plan = scan_plan("1-a", grid, [(r, c) for r in range(rows) for c in range(cols)], [], growable=False)
    profile = rig()
    tight = profile.model_copy(update={"limits": profile.limits.model_copy(update={"z_um": (-3000.0, 6.0)})})
    with pytest.raises(FocusRefused, match="layers outside z"):
        layered(TileFocusing(tight, SURVEYED), tight, plan)
    assert isinstance(layered(TileFocusing(profile, SURVEYED), profile, plan), StackFocusing)


def test_strategies_of_one_plane_are_left_alone() -> None:
    grid, _, _ = grid_over(Rect(0, 0, 400, 400), (512.0, 512.0), 0.1)
    profile = rig(FocusStrategy.EVERY_TILE)
    focusing = TileFocusing(profile, SURVEYED)
    assert layered(focusing, profile, scan_plan("1-a", grid, [(0, 0)], [], growable=False)) is focusing
