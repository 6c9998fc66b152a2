"""How does a person look at a finished or a running scan, and correct it? The only door to napari.

It reads the run folder from a process of its own and writes nothing but corrections, each at once: it can crash
without the scan noticing.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QLabel, QListWidget, QPushButton, QVBoxLayout, QWidget

from scanner.errors import RackscanError
from scanner.model.correction import Correction, Said, Via
from scanner.review.correcting import Desk, reviewer
from scanner.review.correction_panel import CLASS_KEYS, CorrectionPanel, Word
from scanner.review.finding_planes import planes_of
from scanner.review.focus_points import points_in_mm
from scanner.review.layers import (
    PointLayer,
    SlideLayers,
    correction_layer,
    slide_layers,
    slide_name,
    slide_state,
)
from scanner.review.napari_layers import (
    CORRECTIONS,
    FOCUS,
    add_corrections,
    add_layers,
    hide_planes,
    show_planes,
    update_layers,
)
from scanner.storage.reader import RunReader

REFRESH_MS = 1000
PAUSE = 20
NICER = 10
MOST_LISTED = 500
CLOSE_UP_UM = 160.0
KEYS = "N next finding · B the one before · P its planes · click a slide or a finding to go there"


class RunView:
    """A viewer of one run: the rack and the findings beside the slide that is shown."""

    def __init__(self, viewer: napari.Viewer, reader: RunReader, by: str | None = None) -> None:
        """Dock the lists, show the slide that is being scanned, else the first one with an image.

        ``by`` is the short name of who corrects, by default the account's.

        Raises:
            BadInput: ``by`` is more than a short name.
        """
        self.viewer = viewer
        self.reader = reader
        self.by = reviewer(by)
        self.desk: Desk | None = None
        self._new_cell: tuple[float, float] | None = None
        self._words = self._all_words()
        self.panel = CorrectionPanel(self._words)
        self.shown: SlideLayers | None = None
        self.finding = -1
        self._state: tuple[int, ...] = ()
        self.rack, self.found = QListWidget(), QListWidget()
        self._ids: list[str] = []
        self.copy = QPushButton("Copy focus points")
        panel = _panel(self.rack, self.found, self.copy)
        viewer.window.add_dock_widget(panel, name="Rack and findings", area="right")
        viewer.window.add_dock_widget(self.panel, name="What is it?", area="right")
        viewer.canvas.overlays.scale_bar.visible = True
        self._list_slides()
        self.rack.currentRowChanged.connect(self._choose)
        self.found.currentRowChanged.connect(self.go_to)
        self.copy.clicked.connect(self.copy_focus_points)
        viewer.bind_key("n", lambda _: self.step(1), overwrite=True)
        viewer.bind_key("b", lambda _: self.step(-1), overwrite=True)
        self._bind(viewer)
        self.rack.setCurrentRow(self._first())
        self.timer = QTimer()
        self.timer.timeout.connect(self.refresh)
        self.timer.start(REFRESH_MS)

    def show(self, slide_id: str) -> None:
        """Replace what is shown by another slide."""
        self.viewer.layers.clear()
        self.shown, self.finding, self._state, self.desk, self._new_cell = None, -1, (), None, None
        self._fill(slide_id)
        self.viewer.reset_view()

    def refresh(self) -> None:
        """Show what came since the last look; cheap when nothing did, and never more than a twentieth of a core.

        Who watches the newest slide is taken along to the next one.
        """
        newest = self.rack.count() - 1
        self._list_slides()
        if self.rack.currentRow() == newest < self.rack.count() - 1:
            self.rack.setCurrentRow(self.rack.count() - 1)
        row = self.rack.currentRow()
        if 0 <= row < len(self._ids) and slide_state(self.reader, self._ids[row]) != self._state:
            began = time.thread_time()
            self._fill(self._ids[row])
            self.timer.setInterval(max(REFRESH_MS, round(PAUSE * 1000 * (time.thread_time() - began))))

    def step(self, by: int) -> None:
        """Go ``by`` findings further down the ranking."""
        if self.found.count():
            self.found.setCurrentRow(int(np.clip(self.finding + by, 0, self.found.count() - 1)))

    def go_to(self, index: int) -> None:
        """Centre a finding (0 is the highest score), close enough to see the cell."""
        if self.shown is None or not 0 <= index < len(self.shown.findings.places_um):
            return
        self.finding, self._new_cell = index, None
        hide_planes(self.viewer)
        self.viewer.scene.camera.center = tuple(self.shown.findings.places_um[index])
        self.viewer.scene.camera.zoom = min(self.viewer.canvas.size) / CLOSE_UP_UM

    def planes(self) -> None:
        """Show the planes of a finding that was taken again, the sharpest first; or put them away."""
        if self.shown is None or hide_planes(self.viewer):
            return
        planes = planes_of(self.shown, self.finding)
        if planes is None:
            self.panel.tell(
                "This finding was not taken again." if self.finding >= 0 else "Choose a finding first: N."
            )
        else:
            show_planes(self.viewer, planes)

    def name(self, name: str) -> None:
        """Say the class of the cell that was pointed at, else of the finding in the middle; saved at once."""
        if self.desk is not None and self._new_cell is not None:
            y, x = self._new_cell
            self._say(lambda desk: desk.add(x, y, name))
            self._new_cell = None
        else:
            self._of_finding(lambda desk: desk.name(desk.found[self.finding], name))

    def confirm(self) -> None:
        """Say that the finding is what it was found to be."""
        self._of_finding(lambda desk: desk.name(desk.found[self.finding], desk.found[self.finding].name))

    def reject(self) -> None:
        """Say that the finding is no cell."""
        self._of_finding(lambda desk: desk.reject(desk.found[self.finding]))

    def undo(self) -> None:
        """Take back what was said last of this slide."""
        self._new_cell = None
        self._say(lambda desk: desk.undo())

    def point_at_cell(self) -> None:
        """A cell that was missed lies under the mouse: the next class names it."""
        y, x = (float(value) for value in self.viewer.cursor.position[-2:])
        self._new_cell = (y, x)
        self.panel.tell("A cell that was missed: name its class.")

    def copy_focus_points(self) -> str:
        """The focus points as a person left them, onto the clipboard: lines for the rack file."""
        if FOCUS not in self.viewer.layers:
            return ""
        text = points_in_mm(self.viewer.layers[FOCUS].data.tolist())
        QApplication.clipboard().setText(f"    focus_points:\n{text}\n")
        return text

    def close(self) -> None:
        """Stop looking."""
        self.timer.stop()
        self.reader.close()

    def _all_words(self) -> list[Word]:
        classes = [Word(key, name, partial(self.name, name)) for key, name in CLASS_KEYS.items()]
        return [
            *classes,
            Word("c", "as found", self.confirm),
            Word("x", "no cell", self.reject),
            Word("a", "add the cell under the mouse", self.point_at_cell),
            Word("u", "undo", self.undo),
        ]

    def _bind(self, provider: object) -> None:
        """Keys of the active layer come before the viewer's: 1 would delete points of it, P would add some."""
        keys = {word.key: word.say for word in self._words} | {"p": self.planes}
        for key, say in keys.items():
            provider.bind_key(key, lambda _, say=say: say(), overwrite=True)  # type: ignore[attr-defined]  # napari is untyped

    def _of_finding(self, say: Callable[[Desk], Correction]) -> None:
        if self.desk is None or not 0 <= self.finding < len(self.desk.found):
            self.panel.tell("Choose a finding first: N.")
        else:
            self._say(say)

    def _say(self, say: Callable[[Desk], Correction | None]) -> None:
        """Save a word, and show it only where it was saved."""
        if self.desk is None:
            return
        try:
            said = say(self.desk)
        except RackscanError as error:
            self.panel.tell(f"NOT SAVED: {error}")
            return
        self.panel.tell("Nothing to undo." if said is None else f"Saved: {_in_words(said)}")
        self._show_corrections()

    def _show_corrections(self) -> None:
        if self.desk is None:
            return
        said = correction_layer(tuple(self.desk.said.values()))
        if CORRECTIONS in self.viewer.layers:
            layer = self.viewer.layers[CORRECTIONS]
            layer.data, layer.features, layer.size = said.places_um, dict(said.features), said.diameters_um
            layer.refresh_text()
        elif self.desk.said:
            active = self.viewer.layers.selection.active
            self._bind(add_corrections(self.viewer, said))
            self.viewer.layers.selection.active = active
        for row in range(self.found.count()):
            self.found.item(row).setText(_line(self.desk, row))

    def _choose(self, row: int) -> None:
        if 0 <= row < len(self._ids):
            self.show(self._ids[row])

    def _first(self) -> int:
        finished = [self.reader.report(slide_id) is not None for slide_id in self._ids]
        running = [i for i, done in enumerate(finished) if not done]
        with_image = [i for i, name in enumerate(self._ids) if self.reader.paths(name).image.is_dir()]
        return next(iter([*running, *with_image]), 0)

    def _list_slides(self) -> None:
        self._ids = list(self.reader.slides())
        for row, slide_id in enumerate(self._ids):
            name = slide_name(self.reader, slide_id)
            if row >= self.rack.count():
                self.rack.addItem(name)
            elif self.rack.item(row).text() != name:
                self.rack.item(row).setText(name)

    def _fill(self, slide_id: str) -> None:
        state = slide_state(self.reader, slide_id)
        layers = slide_layers(self.reader, slide_id)
        if layers is None:
            return
        if self.shown is None:
            add_layers(self.viewer, layers)
            self.viewer.reset_view()
            for layer in self.viewer.layers:
                if layer.name != FOCUS:
                    self._bind(layer)
        else:
            update_layers(self.viewer, layers)
        self.shown, self._state = layers, state
        self._list_findings(layers.findings)
        if self.desk is None or len(self.desk.found) != len(layers.findings.places_um):
            self.desk = Desk(self.reader, slide_id, self.by, Via.NAPARI)
            self._show_corrections()

    def _list_findings(self, findings: PointLayer) -> None:
        if self.found.count() == min(MOST_LISTED, len(findings.places_um)):
            return
        self.found.blockSignals(True)
        self.found.clear()
        ranked = zip(*(findings.features[key] for key in ("rank", "score", "class")), strict=True)
        self.found.addItems([f"{rank}   {score:.2f}   {name}" for rank, score, name in ranked][:MOST_LISTED])
        self.found.blockSignals(False)


def view(run_dir: Path, by: str | None = None) -> None:
    """Open a run and stay until the window is closed; the process steps back behind a scan on the same machine.

    Raises:
        BadInput: ``run_dir`` is no run folder, or ``by``, who corrects, is no short name.
        DamagedRun: its ledger or a table cannot be read.
    """
    reader, by = RunReader.open(run_dir), reviewer(by)
    os.nice(NICER)
    viewer = napari.Viewer(title=f"rackscan · {reader.folder.settings.run}")
    shown = RunView(viewer, reader, by)
    try:
        napari.run()
    finally:
        shown.close()


def _in_words(said: Correction) -> str:
    what = {Said.CELL: said.name, Said.NO_CELL: "no cell", Said.WITHDRAWN: "nothing is said of it any more"}
    return f"{'a missed cell' if said.rank is None else f'finding {said.rank}'}: {what[said.said]}"


def _line(desk: Desk, row: int) -> str:
    """A finding in the list, and what was said of it."""
    cell = desk.found[row]
    said = desk.said.get(cell.cell)
    answer = f"   → {said.name or 'no cell'}" if said else ""
    return f"{cell.rank}   {cell.score:.2f}   {cell.name}{answer}"


def _panel(rack: QListWidget, found: QListWidget, copy: QPushButton) -> QWidget:
    panel = QWidget()
    column = QVBoxLayout(panel)
    hint = QLabel(KEYS)
    hint.setWordWrap(True)
    hint.setAlignment(Qt.AlignmentFlag.AlignTop)
    for widget in (QLabel("Slides"), rack, QLabel("Findings, highest score first"), found, copy, hint):
        column.addWidget(widget)
    return panel
