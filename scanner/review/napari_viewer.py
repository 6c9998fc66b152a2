"""How does a person look at a finished or a running scan? The only door to napari.

It reads the run folder from a process of its own and writes nothing: it can crash without the scan noticing.
"""

import os
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QLabel, QListWidget, QPushButton, QVBoxLayout, QWidget

from scanner.review.focus_points import points_in_mm
from scanner.review.layers import ImageLayer, PointLayer, SlideLayers, slide_layers, slide_name, slide_state
from scanner.storage.reader import RunReader

REFRESH_MS = 1000
PAUSE = 20
NICER = 10
MOST_LISTED = 500
CLOSE_UP_UM = 160.0
FOCUS = "focus points"
FOCUS_POINT_UM = 120.0
KEYS = "N next finding · B the one before · click a slide or a finding to go there"


class RunView:
    """A viewer of one run: the rack and the findings beside the slide that is shown."""

    def __init__(self, viewer: napari.Viewer, reader: RunReader) -> None:
        """Dock the lists, show the slide that is being scanned, else the first one with an image."""
        self.viewer = viewer
        self.reader = reader
        self.shown: SlideLayers | None = None
        self.finding = -1
        self._state: tuple[int, ...] = ()
        self.rack, self.found = QListWidget(), QListWidget()
        self._ids: list[str] = []
        self.copy = QPushButton("Copy focus points")
        panel = _panel(self.rack, self.found, self.copy)
        viewer.window.add_dock_widget(panel, name="Rack and findings", area="right")
        viewer.canvas.overlays.scale_bar.visible = True
        self._list_slides()
        self.rack.currentRowChanged.connect(self._choose)
        self.found.currentRowChanged.connect(self.go_to)
        self.copy.clicked.connect(self.copy_focus_points)
        viewer.bind_key("n", lambda _: self.step(1), overwrite=True)
        viewer.bind_key("b", lambda _: self.step(-1), overwrite=True)
        self.rack.setCurrentRow(self._first())
        self.timer = QTimer()
        self.timer.timeout.connect(self.refresh)
        self.timer.start(REFRESH_MS)

    def show(self, slide_id: str) -> None:
        """Replace what is shown by another slide."""
        self.viewer.layers.clear()
        self.shown, self.finding, self._state = None, -1, ()
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
        self.finding = index
        self.viewer.scene.camera.center = tuple(self.shown.findings.places_um[index])
        self.viewer.scene.camera.zoom = min(self.viewer.canvas.size) / CLOSE_UP_UM

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
        else:
            update_layers(self.viewer, layers)
        self.shown, self._state = layers, state
        self._list_findings(layers.findings)

    def _list_findings(self, findings: PointLayer) -> None:
        if self.found.count() == min(MOST_LISTED, len(findings.places_um)):
            return
        self.found.blockSignals(True)
        self.found.clear()
        ranked = zip(*(findings.features[key] for key in ("rank", "score", "class")), strict=True)
        self.found.addItems([f"{rank}   {score:.2f}   {name}" for rank, score, name in ranked][:MOST_LISTED])
        self.found.blockSignals(False)


def view(run_dir: Path) -> None:
    """Open a run and stay until the window is closed; the process steps back behind a scan on the same machine.

    Raises:
        BadInput: ``run_dir`` is no run folder.
        DamagedRun: its ledger or a table cannot be read.
    """
    reader = RunReader.open(run_dir)
    os.nice(NICER)
    viewer = napari.Viewer(title=f"rackscan · {reader.folder.settings.run}")
    shown = RunView(viewer, reader)
    try:
        napari.run()
    finally:
        shown.close()


def add_layers(viewer: napari.Viewer, layers: SlideLayers) -> None:
    """The pyramid (layers under a slider), what was fused of it, outlines of tiles, focus points, findings."""
    findings = layers.findings
    units = ("um", "um")
    for name, image in _images(layers).items():
        _add_image(viewer, name, image)
    viewer.add_vectors(
        layers.tiles.segments,
        name="tiles",
        edge_color=layers.tiles.colours if len(layers.tiles.colours) else "white",
        edge_width=4,
        vector_style="line",
        opacity=0.8,
        units=units,
    )
    focus = layers.focus
    viewer.add_points(
        focus.places_um,
        name=FOCUS,
        features=dict(focus.features),
        size=FOCUS_POINT_UM,
        symbol="cross",
        face_color=focus.colours if len(focus.colours) else "blue",
        text={"string": list(focus.labels), "size": 8, "anchor": "upper_left"},
        visible=False,
        units=units,
    )
    viewer.add_points(
        findings.places_um,
        name="findings",
        features=dict(findings.features),
        size=findings.diameters_um,
        face_color="transparent",
        border_color=findings.colours if len(findings.colours) else "red",
        border_width=0.06,
        units=units,
    )


def update_layers(viewer: napari.Viewer, layers: SlideLayers) -> None:
    """New data into the layers that are there; the view stays where the person put it."""
    tiles, points = viewer.layers["tiles"], viewer.layers["findings"]
    tiles.data = layers.tiles.segments
    if len(layers.tiles.colours):
        tiles.edge_color = layers.tiles.colours
    points.data = layers.findings.places_um
    points.features = dict(layers.findings.features)
    if len(layers.findings.colours):
        points.size = layers.findings.diameters_um
        points.border_color = layers.findings.colours
    for name in _images(layers):
        if name in viewer.layers:
            viewer.layers[name].refresh()
        else:
            _add_image(viewer, name, _images(layers)[name])


def _images(layers: SlideLayers) -> dict[str, ImageLayer]:
    named = {"slide": layers.image, "edf": layers.edf, "height": layers.height}
    return {name: image for name, image in named.items() if image is not None}


def _add_image(viewer: napari.Viewer, name: str, image: ImageLayer) -> None:
    """Heights are there to be switched on: they would hide the sample."""
    heights = name == "height"
    viewer.add_image(
        list(image.levels),
        name=name,
        multiscale=True,
        rgb=image.levels[0].shape[-1] == 3,
        scale=image.scale_um,
        translate=image.origin_um,
        contrast_limits=image.shown,
        units=("um",) * len(image.scale_um),
        **({"colormap": "viridis", "visible": False} if heights else {}),
    )


def _panel(rack: QListWidget, found: QListWidget, copy: QPushButton) -> QWidget:
    panel = QWidget()
    column = QVBoxLayout(panel)
    hint = QLabel(KEYS)
    hint.setWordWrap(True)
    hint.setAlignment(Qt.AlignmentFlag.AlignTop)
    for widget in (QLabel("Slides"), rack, QLabel("Findings, highest score first"), found, copy, hint):
        column.addWidget(widget)
    return panel
