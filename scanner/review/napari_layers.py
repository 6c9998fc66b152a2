"""How do a slide's layers come into napari, and how are they kept up with the run?"""

import napari

from scanner.review.finding_planes import Planes
from scanner.review.layers import ImageLayer, PointLayer, SlideLayers

FOCUS = "focus points"
FOCUS_POINT_UM = 120.0
CORRECTIONS = "corrections"
PLANES = "planes"


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


def add_corrections(viewer: napari.Viewer, said: PointLayer) -> object:
    """The layer of what people said."""
    return viewer.add_points(
        said.places_um,
        name=CORRECTIONS,
        features=dict(said.features),
        size=said.diameters_um,
        symbol="square",
        face_color="transparent",
        border_color=said.colours,
        border_width=0.06,
        text={"string": "{said}", "size": 10, "anchor": "upper_left", "color": "green"},
        units=("um", "um"),
    )


def show_planes(viewer: napari.Viewer, planes: Planes) -> None:
    """Lay a finding's planes over the slide, the slider on the sharpest one; the active layer stays the active one."""
    active = viewer.layers.selection.active
    viewer.add_image(
        planes.pixels,
        name=PLANES,
        rgb=planes.pixels.ndim == 4,
        scale=planes.scale_um,
        translate=planes.origin_um,
        contrast_limits=planes.shown,
        units=("um",) * len(planes.scale_um),
    )
    viewer.dims.set_point(0, planes.origin_um[0] + planes.sharpest * planes.scale_um[0])
    viewer.layers.selection.active = active


def hide_planes(viewer: napari.Viewer) -> bool:
    """Put the planes away; False where none were shown."""
    if PLANES not in viewer.layers:
        return False
    viewer.layers.remove(PLANES)
    return True


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
