"""Where do later steps find the pixels of an earlier tile? In memory while it is recent, else in the spool."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from scanner.model.tile import Judged, Pixels, Tile
from scanner.pipeline.flat_field import Correction
from scanner.storage.spool import Spool


class RecentFrames:
    """Upright, flat pixels of tiles by number; at most ``most`` in memory, the others read again from the spool.

    The last capture of a tile counts. A released tile is gone for good. ``correction`` is asked for when a tile is read
    again: by then the slide's light is decided.
    """

    def __init__(self, spool: Spool, slide_id: str, correction: Callable[[], Correction], most: int) -> None:
        self._spool = spool
        self._slide_id = slide_id
        self._correction = correction
        self._most = most
        self._tiles: dict[int, Tile] = {}
        self._pixels: OrderedDict[int, Pixels] = OrderedDict()
        self._checked: set[tuple[int, int, int]] = set()

    def add(self, judged: Judged) -> None:
        """A tile that later steps may ask for."""
        number = judged.tile.planned.tile
        self._tiles[number] = replace(judged.tile, frame=None)
        self._pixels.pop(number, None)
        if judged.pixels is not None:
            self._keep(number, judged.pixels)

    def __contains__(self, number: int) -> bool:
        return number in self._tiles

    def __call__(self, number: int) -> Pixels:
        """The pixels of a tile.

        Raises:
            DamagedRun: the spool lost it.
        """
        if number in self._pixels:
            self._pixels.move_to_end(number)
            return self._pixels[number]
        tile = self._tiles[number]
        self._keep(number, self._read(tile, tile.content, tile.layer))
        return self._pixels[number]

    def cut(self, number: int, rows: slice, cols: slice) -> Pixels:
        """A part of a tile; see ``__call__``."""
        return self(number)[rows, cols]

    def cut_layer(self, layer: int, number: int, rows: slice, cols: slice) -> Pixels:
        """A part of one layer of a tile's stack, never kept in memory: a stack is as large as a row of tiles.

        Its content is checked when it is first read.

        Raises:
            DamagedRun: the spool lost it.
        """
        tile = self._tiles[number]
        if layer == tile.layer and number in self._pixels:
            return self._pixels[number][rows, cols]
        key = (number, tile.plan, layer)
        content = None if key in self._checked else tile.layers[layer].content
        name = (self._slide_id, number, tile.plan, tile.attempt)
        raw = self._spool.get(*name, content, layer)
        self._checked.add(key)
        return self._correction().cut(raw, rows, cols)

    def tile(self, number: int) -> Tile:
        """What is known of a tile that was not released."""
        return self._tiles[number]

    def release(self, number: int) -> None:
        """No step will ask for this tile any more."""
        self._tiles.pop(number, None)
        self._checked = {key for key in self._checked if key[0] != number}
        self._pixels.pop(number, None)

    def _read(self, tile: Tile, content: str, layer: int | None) -> Pixels:
        name = (self._slide_id, tile.planned.tile, tile.plan, tile.attempt)
        return self._correction()(self._spool.get(*name, content, layer))

    def _keep(self, number: int, pixels: Pixels) -> None:
        self._pixels[number] = pixels
        while len(self._pixels) > self._most:
            self._pixels.popitem(last=False)
