"""What does a person see of how well a mosaic fits: errors of pairs, of the stage, of the seams, and what is in doubt?

Everything is computed here and nothing decided; how many seams are looked at bounds what it costs.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from scanner.model.geometry import Point
from scanner.model.profile import Profile
from scanner.model.slide import UM_PER_MM
from scanner.pipeline.canvas import mosaic_frame
from scanner.pipeline.joints import DOUBT_PX, Joint, joints_of, worst_first
from scanner.pipeline.lattice import Box, Lattice
from scanner.pipeline.seam_score import Look, Seamlessness, SeamScore, seam_score, seamlessness
from scanner.pipeline.stage_errors import AxisErrors, StageErrors, stage_errors
from scanner.review.mosaic_charts import Chart, Grade, charts, curve_chart, grades, pair_map
from scanner.review.pictures import TileMap
from scanner.review.seam_pictures import SeamPicture, seam_picture
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader

SEAMS_OF_REPORT, PICTURES_OF_REPORT = 12, 5  # 5 ms of CPU a seam: the report must be there at once
PICTURES, LEAST_PICTURES = 24, 3
WORTH_A_LOOK = 0.5  # of what makes a seam doubtful, visible or surely torn
SAID = 5  # doubts that are spelt out
SEEN_STEP = 0.03  # of brightness: plainly visible
EXPECTED_SCORE = 1.25  # of one seam: below it nothing was seen to be torn


@dataclass(frozen=True, slots=True)
class Subject:
    """A mosaic to be looked at.

    ``stage_per_px`` (2, 2): unit of the reported places per mosaic px; ``unit`` its name; ``where`` says a mosaic place
    in a person's words; ``backlash`` (x, y) is what the profile knows, µm; ``size`` (w, h) of the image;
    ``said_by`` who reported the places.
    """

    joints: tuple[Joint, ...]
    lattice: Lattice
    look: Look
    size: tuple[int, int]
    stage_per_px: tuple[tuple[float, float], tuple[float, float]]
    unit: str
    um_per_px: float | None
    where: Callable[[Point], str]
    backlash: tuple[float, float] | None = None
    said_by: str = "stage"


@dataclass(frozen=True, slots=True)
class MosaicView:
    """All that a page shows of a mosaic. ``borders`` counts neighbours, ``measured`` those whose overlap spoke.

    ``seams`` are a fair sample, or all; ``looked_at`` counts the worst as well, whose pictures are shown.
    """

    borders: int
    measured: int
    doubtful: int
    median_px: float | None
    worst: tuple[Joint, ...]
    map: TileMap
    marks: tuple[Point, ...]
    grades: tuple[Grade, ...]
    stage: StageErrors | None
    unit: str
    said_by: str
    backlash: tuple[float, float] | None
    charts: tuple[Chart, ...]
    curves: tuple[Chart, ...]
    seams: Seamlessness
    looked_at: int
    pictures: tuple[SeamPicture, ...]
    doubts: tuple[str, ...]


def slide_subject(reader: RunReader, slide_id: str, tiles: pa.Table) -> Subject | None:
    """A slide of a run, from its ``tiles`` table; None without neighbours that are placed, or without rig or image.

    Raises:
        DamagedRun: the ledger or the image cannot be read.
    """
    profile, plans = run_profile(reader), reader.plans(slide_id)
    path = reader.paths(slide_id).image
    if profile is None or profile.measured.camera_to_stage is None or not plans or not path.is_dir():
        return None
    joints = joints_of(reader.ledger, slide_id, tiles)
    if not joints:
        return None
    frame, store = mosaic_frame(profile, plans[0]), PyramidStore.open(path)
    to_slide = frame.slide_to_mosaic.inverse()

    def where(at: Point) -> str:
        place = to_slide.apply(at)
        return f"{place.x / UM_PER_MM:.2f}, {place.y / UM_PER_MM:.2f} mm"

    return Subject(
        joints,
        frame.lattice,
        looking(store),
        store.sizes[0],
        to_slide.matrix,
        "µm",
        frame.um_per_px,
        where,
        known_backlash(profile),
    )


def known_backlash(profile: Profile) -> tuple[float, float] | None:
    """What the profile says of backlash along the slide's x and y, µm: no sign changes with an axis's direction."""
    known = profile.measured.backlash_um
    if known is None:
        return None
    x, y = np.abs(np.array(profile.slide.axes)) @ known.value
    return float(x), float(y)


def run_profile(reader: RunReader) -> Profile | None:
    """The run's frozen profile; None where there is none that says what a rig is."""
    frozen = reader.folder.settings.profile
    try:
        return Profile.model_validate(yaml.load(frozen.text, yaml.CBaseLoader)) if frozen else None
    except (yaml.YAMLError, ValidationError):
        return None


def looking(store: PyramidStore) -> Look:
    """Level 0 of an image, box by box; of layers, the middle one."""

    def look(box: Box) -> NDArray[np.uint8] | NDArray[np.uint16]:
        box_px = box.y0, box.x0, box.y1 - box.y0, box.x1 - box.x0
        block = np.asarray(store.read(0, *box_px, store.spec.middle), store.spec.dtype)
        return block[0] if len(block) == 1 else np.moveaxis(block, 0, -1)

    return look


def mosaic_view(subject: Subject, most_seams: int | None = None, pictures: int = PICTURES) -> MosaicView:
    """Everything a page shows; ``most_seams`` bounds how many are read from the image, None looks at all."""
    joints, worst = subject.joints, worst_first(subject.joints)
    errors = stage_errors(joints, subject.stage_per_px)
    fair, besides = (_scored(chosen, subject) for chosen in _chosen(joints, most_seams))
    shown = sorted(fair + besides, key=_badness, reverse=True)[:pictures]
    shown = [seam for k, seam in enumerate(shown) if k < LEAST_PICTURES or _badness(seam) > WORTH_A_LOOK]
    sizes = [joint.size_px for joint in worst]
    doubtful = [joint for joint in worst if joint.doubtful]
    curves = (curve_chart(axis, name, subject.unit, subject.said_by) for name, axis in _axes(errors))
    return MosaicView(
        borders=len(joints),
        measured=len(worst),
        doubtful=len(doubtful),
        median_px=float(np.median(np.array(sizes, float))) if sizes else None,
        worst=tuple(worst[:12]),
        map=pair_map(joints),
        marks=tuple(_between(joint) for joint in doubtful[:50]),
        grades=grades(joints),
        stage=errors,
        unit=subject.unit,
        said_by=subject.said_by,
        backlash=subject.backlash,
        charts=charts(errors, subject.unit) if errors else (),
        curves=tuple(curve for curve in curves if curve is not None),
        seams=seamlessness(fair),
        looked_at=len(fair) + len(besides),
        pictures=tuple(
            seam_picture(seam, subject.look, subject.size, subject.where(Point(*seam.at))) for seam in shown
        ),
        doubts=doubts(doubtful, subject),
    )


def _scored(joints: Sequence[Joint], subject: Subject) -> list[SeamScore]:
    found = (seam_score(joint, subject.lattice, subject.look) for joint in joints)
    return [seam for seam in found if seam is not None]


def doubts(doubtful: Sequence[Joint], subject: Subject) -> tuple[str, ...]:
    """Where places contradict what was measured, as a technician understands it; a tile that errs all round once.

    ``doubtful``: the worst first.
    """
    groups = list(_grouped(doubtful))
    said = [_doubt(group, subject) for group in groups[:SAID]]
    left = sum(len(group) for group in groups[SAID:])
    return (
        (*said, f"And {left} more borders between tiles do not fit: red on the map of the mosaic.")
        if left
        else (*said,)
    )


def _grouped(doubtful: Sequence[Joint]) -> Iterator[list[Joint]]:
    """Joints that one tile explains, the tile with most of them first; then those that are left, one by one."""
    left = list(doubtful)
    while left:
        names = Counter(station.name for joint in left for station in (joint.first, joint.second))
        name = names.most_common(1)[0][0]
        mine = [joint for joint in left if name in (joint.first.name, joint.second.name)]
        yield mine
        left = [joint for joint in left if joint not in mine]


def _doubt(group: Sequence[Joint], subject: Subject) -> str:
    size, um = group[0].size_px or 0.0, subject.um_per_px
    far = f"{size:.1f} pixels" + (f" ({size * um:.1f} µm)" if um else "")
    places = [_meeting(joint, subject.lattice) for joint in group]
    at = subject.where(Point(sum(p.x for p in places) / len(group), sum(p.y for p in places) / len(group)))
    names = Counter(station.name for joint in group for station in (joint.first, joint.second))
    (name, times), *others = names.most_common()
    if times == 1:
        who = f"tiles {name} and {others[0][0]} do not fit by {far} there"
    else:
        who = f"tile {name} does not fit its neighbours {_listed([other for other, _ in others])} by up to {far} there"
    return f"The image is in doubt at {at}: {who}, and a cell on the border between them can look torn or doubled."


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _meeting(joint: Joint, lattice: Lattice) -> Point:
    """The middle of the border between two tiles, mosaic px."""
    a, b = joint.first.placed, joint.second.placed
    h, w = lattice.tile_px
    return Point((a.x + b.x + w) / 2, (a.y + b.y + h) / 2)


def _between(joint: Joint) -> Point:
    a, b = joint.first.said, joint.second.said
    return Point((a.x + b.x) / 2, (a.y + b.y) / 2)


def _axes(errors: StageErrors | None) -> tuple[tuple[str, AxisErrors], ...]:
    return (("x", errors.x), ("y", errors.y)) if errors else ()


def _chosen(joints: Sequence[Joint], most: int | None) -> tuple[list[Joint], list[Joint]]:
    """Joints evenly over the slide, for a score that is fair, and the worst besides, to be seen; without ``most`` all.

    A measured pair has something to see.
    """
    if most is None or len(joints) <= most:
        return list(joints), []
    worst = worst_first(tuple(joints))[: most // 3]
    able = [joint for joint in joints if joint.measured is not None] or list(joints)
    places = np.linspace(0, len(able) - 1, min(len(able), most - len(worst))).astype(int)
    fair = [able[k] for k in dict.fromkeys(places.tolist())]
    return fair, [joint for joint in worst if joint not in fair]


def _badness(seam: SeamScore) -> float:
    """How much a seam deserves a look: 1 is a contradiction in doubt, a step that shows or a seam surely torn."""
    contradiction = (seam.joint.size_px or 0.0) / DOUBT_PX
    step = abs(seam.step) / SEEN_STEP
    torn = ((seam.misfit or 1.0) - 2 * seam.sigma - 1) / (EXPECTED_SCORE - 1)
    return max(contradiction, torn, step)
