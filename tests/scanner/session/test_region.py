"""Do four numbers become a rectangle of the glass, and nothing else?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.errors import BadInput
from scanner.model.geometry import Rect
from scanner.session.region import parse_region


@pytest.mark.parametrize(
    "text",
    ["a,b,c,d", "1,2,3", "1,2,3,4,5", "nan,11,3,3", "inf,1,1,1", "43,11,-3,3", "1,1,0,1", "500,500,3,3", ""],
)
def test_a_region_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--region"):
        parse_region(text)


@given(st.floats(0, 70), st.floats(0, 20), st.floats(0.001, 5), st.floats(0.001, 5))
def test_a_region_on_the_glass_becomes_slide_micrometres(x: float, y: float, w: float, h: float) -> None:
    region = parse_region(f"{x!r},{y!r},{w!r},{h!r}")
    assert region == Rect(x * 1000, y * 1000, w * 1000, h * 1000)
