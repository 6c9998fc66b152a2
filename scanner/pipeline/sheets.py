"""Which pictures of a slide grow while it is scanned, and how does each get its blocks drawn, halved, stored, booked?

One for a scan of one plane; one a layer of a stack; one for the fused plane and one for its heights. All show the same
tiles at the same places, block by block.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from scanner.model.events import Kind
from scanner.pipeline.mosaic import BlockId, Strokes
from scanner.pipeline.pyramid import Block, Pyramid, Shown
from scanner.pipeline.rounding import round_into, rounder
from scanner.storage.facts import IMAGE, BlockFact
from scanner.storage.hashes import file_hash
from scanner.storage.ledger import Ledger
from scanner.storage.ome_zarr import PyramidStore

Paint = Callable[[BlockId, Strokes], Block | None]
"""A finished block (channels, side, side) of a picture, or None where no tile shows in it; it may be changed."""
Drawn = tuple[BlockId, Shown]
Ahead = Callable[[Iterator[Drawn]], Iterator[Drawn]]
"""Runs the painting of some blocks beside their storing, at most ``PAINTED_AHEAD`` of them ahead."""
PAINTED_AHEAD = 1


class Sheet:
    """One picture under construction: a layer of the image in ``store``, its name in the ledger, how it is painted."""

    def __init__(
        self,
        store: PyramidStore,
        paint: Paint,
        image: str = IMAGE,
        layer: int | None = None,
    ) -> None:
        self.store = store
        self._paint = paint
        self._image = image
        self._layer = layer
        self._z = layer or 0
        spec = store.spec
        self._pyramid = Pyramid(store.sizes, spec.shard_px, spec.fill, _Plane(store, self._z))
        self._levels = rounder(spec.storage.rounding, spec.dtype)
        self._written: list[tuple[int, int, int]] = []

    def draw(self, blocks: Iterable[tuple[BlockId, Strokes]], ahead: Ahead = iter) -> None:
        """Blocks of level 0 that no tile will change any more, and what follows from them."""
        for block, shown in ahead(self._shown(blocks)):
            self._written += self._pyramid.add(*block, shown)

    def _shown(self, blocks: Iterable[tuple[BlockId, Strokes]]) -> Iterator[Drawn]:
        for block, strokes in blocks:
            if self.store.has(0, *block, self._z):
                yield block, "stored"
            elif self.store.exists(0, *block):
                yield block, self._painted(block, strokes)

    def _painted(self, block: BlockId, strokes: Strokes) -> Block | None:
        """As it is stored: what stands above it is the mean of just that."""
        pixels = self._paint(block, strokes)
        if pixels is not None and self._levels is not None:
            round_into(pixels, self._levels)
        return pixels

    def book(self, ledger: Ledger, slide_id: str) -> None:
        """What is on disk becomes a fact, before any frame it was made of may go."""
        for block in self._written:
            self._book(ledger, slide_id, block)
        self._written = []

    def book_found(self, ledger: Ledger, slide_id: str, booked: Sequence[str]) -> None:
        """Blocks that a killed session wrote and did not live to book."""
        known = set(booked)
        for block in self.store.blocks(self._z):
            if self._fact(block, "").key not in known:
                self._book(ledger, slide_id, block)

    def _book(self, ledger: Ledger, slide_id: str, block: tuple[int, int, int]) -> None:
        fact = self._fact(block, file_hash(self.store.file(*block, self._z)))
        ledger.append(Kind.BLOCK, slide_id, fact.key, fact.body())

    def _fact(self, block: tuple[int, int, int], sha256: str) -> BlockFact:
        level, row, col = block
        return BlockFact(level=level, row=row, col=col, sha256=sha256, image=self._image, z=self._layer)


class _Plane:
    """One layer of an image, as a pyramid writes it and asks for what was stored of it."""

    def __init__(self, store: PyramidStore, z: int) -> None:
        self._store, self._z = store, z

    def has(self, level: int, row: int, col: int) -> bool:
        return self._store.has(level, row, col, self._z)

    def read(self, level: int, y: int, x: int, h: int, w: int) -> Block:
        return self._store.read(level, y, x, h, w, self._z)

    def write(self, level: int, row: int, col: int, block: Block) -> None:
        self._store.write(level, row, col, block, self._z)

    def write_part(self, level: int, row: int, col: int, y: int, x: int, part: Block) -> None:
        self._store.write_part(level, row, col, y, x, part, self._z)

    def finish(self, level: int, row: int, col: int) -> None:
        self._store.finish(level, row, col, self._z)
