"""Does each piece come back as it was put, and is there never more room taken than what waits?"""

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.storage.scratch import Scratch

MOST = 64


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=MOST), min_size=1), seed=st.integers(0, 9))
def test_pieces_come_back_as_they_were_put_and_their_places_are_used_again(
    pieces: list[bytes], seed: int
) -> None:
    choose, waiting, most = random.Random(seed), dict[int, bytes](), 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder), MOST)
        for piece in pieces:
            where = scratch.put(memoryview(piece))
            assert where not in waiting
            waiting[where] = piece
            most = max(most, len(waiting))
            assert max(waiting) < most
            if choose.random() < 0.6:
                taken = choose.choice(sorted(waiting))
                into = bytearray(len(waiting[taken]))
                scratch.take(taken, memoryview(into))
                assert into == waiting.pop(taken)
        assert list(Path(folder).iterdir()) == []
