import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detection.detections import Detections


@given(seed=st.integers(0, 1000), count=st.integers(0, 20))
def test_detections_come_back_from_json_bit_by_bit(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    given_ = Detections.rounded(
        rng.uniform(-20, 4000, (count, 4)),
        rng.integers(0, 9, count),
        rng.random(count),
        rng.random(count),
        rng.integers(-1, 9, count),
    )
    again = Detections.from_json(json.loads(json.dumps(given_.to_json())))
    for name in ("boxes", "classes", "scores", "abnormal", "abnormal_classes"):
        assert getattr(given_, name).tobytes() == getattr(again, name).tobytes()


def test_boxes_move_with_their_tile_and_grow_with_its_scale() -> None:
    one = Detections.rounded(np.array([[2.0, 4, 8, 6]]), np.zeros(1), np.ones(1), np.ones(1), np.zeros(1))
    assert one.moved(100, 50, 2.0).boxes.tolist() == [[104, 58, 16, 12]]
