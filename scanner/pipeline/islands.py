"""Which tiles hang together by what was measured between them?"""

from collections.abc import Iterable


class Islands:
    """A partition of tiles that only ever merges (union by the smaller number, Tarjan 1975).

    The name of an island is its smallest tile.
    """

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def with_joined(self, pairs: Iterable[tuple[int, int]]) -> "Islands":
        """A copy in which these hang together too."""
        copy = Islands()
        copy._above = dict(self._above)
        for tile, other in pairs:
            copy.join(tile, other)
        return copy

    def of(self, tile: int) -> int:
        """The island of a tile; a tile that was never joined is an island of its own."""
        above = self._above
        while above.get(tile, tile) != tile:
            above[tile] = above.get(above[tile], above[tile])
            tile = above[tile]
        return tile

    def join(self, tile: int, other: int) -> None:
        """Both hang together from now on."""
        low, high = sorted((self.of(tile), self.of(other)))
        self._above[high] = low
