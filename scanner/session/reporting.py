"""Which files tell of a slide and of the rack when they are done, and in which order, so that none tells too much?

The image says complete, and the ledger that the slide is finished, only when everything else lies on disk.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from scanner.acquisition.identity import Identity
from scanner.acquisition.rack import SlideBegun
from scanner.export.geojson import write_geojson
from scanner.export.ome_findings import write_ome_findings
from scanner.model.events import Event, Json, Kind
from scanner.model.profile import FocusSpec
from scanner.model.report import (
    FocusUsed,
    Outcome,
    Quality,
    RunResult,
    Seconds,
    SlideReport,
    SlideResult,
    Verdict,
)
from scanner.model.slide import Preparation
from scanner.pipeline.closing import Closing, Reading, close, undecided
from scanner.review.report import compile_templates, write_report
from scanner.review.slide_page import write_thumbnail
from scanner.session.cells_report import cells_again
from scanner.session.light_report import image_facts, light_used
from scanner.session.reading import Desk, Watch
from scanner.storage.atomic import write_atomic
from scanner.storage.ledger import Ledger
from scanner.storage.ome_zarr import PyramidStore
from scanner.storage.reader import RunReader
from scanner.storage.run_folder import RunFolder, SlidePaths
from scanner.storage.tables import findings_table, load_libraries, tiles_table, write_table


def warm_up() -> None:
    """What takes longer the first time, done while the first slide is still being loaded."""
    load_libraries()
    compile_templates()


def finish_slide(desk: Desk, ledger: Ledger, reading: Reading, watch: Watch) -> SlideReport:
    """Tables, thumbnail, report, image complete, page: then the slide is finished."""
    closing = close(reading)
    name = reading.begun.slide.slide_id
    paths = desk.folder.slide(name)
    write_table(paths.tiles, tiles_table(ledger, name))
    held = _write_findings(paths, closing, name)
    write_thumbnail(PyramidStore.open(paths.image), paths.thumbnail)
    whole = reading.counts.planned == reading.counts.captured + reading.counts.skipped
    if whole and closing.outcome is not Outcome.RERUN:
        for path in paths.images:
            light = _light_of(desk, ledger, name) if path not in (paths.height, paths.cells) else {}
            PyramidStore.open(path).complete(
                {"tiles": reading.counts.captured, **light, **(held if path == paths.image else {})}
            )
    report = _report(desk, ledger, reading, closing, watch)
    write_atomic(paths.report, report.model_dump_json(indent=1))
    write_report(desk.folder.root)
    told = report.model_copy(update={"seconds": _seconds(ledger, name, watch)})
    return _told(desk.folder, ledger, told)


def _write_findings(paths: SlidePaths, closing: Closing, name: str) -> dict[str, Json]:
    """The findings in every format that is promised; what the image says of those that it holds."""
    if closing.findings is None:
        return {}
    table = findings_table(closing.findings.columns(name))
    write_table(paths.findings, table)
    write_geojson(paths.geojson, closing.findings, name)
    write_ome_findings(PyramidStore.open(paths.image), table)
    return {"findings": len(table)}


def finish_undecided(folder: RunFolder, ledger: Ledger, begun: SlideBegun) -> SlideReport:
    """A slide that was not scanned, or not to its end, with the reason and what was captured of it."""
    decision, name = undecided(begun), begun.slide.slide_id
    with RunReader.open(folder.root) as reader:
        counts = reader.counts(name)
    report = SlideReport(
        slot=begun.slide.slot,
        slide_id=name,
        outcome=begun.decided.outcome if begun.decided else Outcome.RERUN,
        verdict=decision.verdict,
        tiles=counts,
        preparation=begun.slide.preparation,
        accession=begun.slide.accession,
        reasons=decision.reasons,
        sample_covered=0.0 if begun.located is not None and not begun.located.empty else None,
    )
    folder.slide(name).folder.mkdir(parents=True, exist_ok=True)
    if counts.planned:
        write_table(folder.slide(name).tiles, tiles_table(ledger, name))
    return _told(folder, ledger, report)


def fault_reports(folder: RunFolder, ledger: Ledger, words: str) -> list[SlideReport]:
    """The slides that a fault or a stop interrupted: provisional, until the run is resumed."""
    loaded = {event.slide_id: event for event in ledger.events(Kind.SLIDE_LOADED)}
    finished = {event.slide_id for event in ledger.events(Kind.SLIDE_FINISHED)}
    return [
        _interrupted(folder, ledger, event, words) for name, event in loaded.items() if name not in finished
    ]


def _interrupted(folder: RunFolder, ledger: Ledger, loaded: Event, words: str) -> SlideReport:
    name = loaded.slide_id
    identity = ledger.latest(Kind.IDENTITY, name)
    with RunReader.open(folder.root) as reader:
        counts = reader.counts(name)
    report = SlideReport(
        slot=int(loaded.key),
        slide_id=name,
        outcome=Outcome.RERUN,
        verdict=Verdict.INCOMPLETE,
        tiles=counts,
        preparation=Preparation(str(loaded.body["preparation"])),
        accession=Identity.model_validate(identity.body).accession if identity else None,
        reasons=(
            words,
            f"{counts.captured} of {counts.planned} tiles are kept: rackscan resume goes on from there",
        ),
    )
    folder.slide(name).folder.mkdir(parents=True, exist_ok=True)
    write_table(folder.slide(name).tiles, tiles_table(ledger, name))
    write_atomic(folder.slide(name).report, report.model_dump_json(indent=1))
    return report


def withdraw_provisional(folder: RunFolder, ledger: Ledger) -> None:
    """What was said of slides that a fault interrupted, taken back now that they go on."""
    finished = {event.slide_id for event in ledger.events(Kind.SLIDE_FINISHED)}
    for event in ledger.events(Kind.SLIDE_LOADED):
        if event.slide_id not in finished:
            paths = folder.slide(event.slide_id)
            paths.report.unlink(missing_ok=True)
            paths.tiles.unlink(missing_ok=True)
    folder.report.unlink(missing_ok=True)


def write_rack(folder: RunFolder, reports: Sequence[SlideReport]) -> RunResult:
    """report.json of the run, and the page over all its slides."""
    slides = tuple(_short(report) for report in sorted(reports, key=lambda report: report.slot))
    result = RunResult.of(folder.settings.run, slides)
    write_atomic(folder.report, result.model_dump_json(indent=1))
    write_report(folder.root)
    return result


def _told(folder: RunFolder, ledger: Ledger, report: SlideReport) -> SlideReport:
    write_atomic(folder.slide(report.slide_id).report, report.model_dump_json(indent=1))
    body = {"outcome": str(report.outcome), "verdict": str(report.verdict)}
    ledger.append(Kind.SLIDE_FINISHED, report.slide_id, "", {**body})
    return report


def _short(report: SlideReport) -> SlideResult:
    return SlideResult.model_validate({name: getattr(report, name) for name in SlideResult.model_fields})


def _report(desk: Desk, ledger: Ledger, reading: Reading, closing: Closing, watch: Watch) -> SlideReport:
    begun, found = reading.begun, closing.findings
    name = begun.slide.slide_id
    with RunReader.open(desk.folder.root) as reader:
        points = reader.focus_points(name)
    warnings = desk.teller.take_warnings()
    for words in warnings:
        ledger.append(Kind.WARNING, name, "", {"message": words})
    times = ledger.latest(Kind.PLAN_CAPTURED, name)
    frames = float(str(times.body.get("frames", 0))) if times else 0.0
    return SlideReport(
        slot=begun.slide.slot,
        slide_id=name,
        outcome=closing.outcome,
        verdict=closing.decision.verdict,
        image=desk.folder.relative(desk.folder.slide(name).image),
        tiles=reading.counts,
        seconds=_seconds(ledger, name, watch),
        frames_per_tile=frames / max(1, reading.counts.captured),
        sample_covered=closing.covered,
        cells=found.cells if found else 0,
        peak_bytes=watch.peak_bytes,
        second_reading=closing.second_reading,
        preparation=begun.slide.preparation,
        accession=begun.slide.accession,
        reasons=closing.decision.reasons,
        warnings=warnings,
        slide_score=closing.slide_score,
        operating_point=reading.record.operating_point if reading.record else None,
        detector=reading.package.hash if reading.package else None,
        um_per_px=reading.frame.um_per_px,
        canvas_um=reading.plans[0].canvas_um,
        quality=_quality(reading, closing),
        focus_points=points,
        cpu_ms_per_tile=_cpu_ms(times, watch, reading.counts.captured),
        focus=_focus_used(desk.profile.focus),
        edf=_image_beside(desk.folder, desk.folder.slide(name).edf),
        height=_image_beside(desk.folder, desk.folder.slide(name).height),
        light=light_used(ledger, name),
        blood=None if reading.blood is None else round(reading.blood, 4),
        cells_again=cells_again(desk.folder, ledger, reading, desk.profile.capture_cells, found),
    )


def _light_of(desk: Desk, ledger: Ledger, name: str) -> dict[str, Json]:
    rig = desk.folder.settings.profile
    return image_facts(light_used(ledger, name), desk.profile, Path(rig.path) if rig else None)


def _focus_used(focus: FocusSpec) -> FocusUsed:
    if not focus.layered:
        return FocusUsed(strategy=focus.strategy.value)
    return FocusUsed(strategy=focus.strategy.value, layers=focus.layers, layer_step_um=focus.layer_step_um)


def _image_beside(folder: RunFolder, image: Path) -> str | None:
    return folder.relative(image) if image.is_dir() else None


def _cpu_ms(times: Event | None, watch: Watch, tiles: int) -> dict[str, float]:
    """CPU milliseconds a tile of each thread and of the detector's process; threads of libraries not included."""
    known = dict(watch.cpu_s)
    if times is not None:
        known = {"control and focus": float(str(times.body.get("cpu_s", 0.0))), **known}
    return {name: round(1000 * seconds / max(1, tiles), 2) for name, seconds in known.items()}


def _quality(reading: Reading, closing: Closing) -> Quality:
    places = reading.places
    return Quality(
        focus_states=dict(closing.states),
        pairs_measured=places.pairs_measured,
        pairs_held=places.pairs_held,
        tiles_held=sum(placed.held for placed in places.placed.values()),
    )


def _seconds(ledger: Ledger, name: str, watch: Watch) -> Seconds:
    times = ledger.latest(Kind.PLAN_CAPTURED, name)
    known = (
        {key: float(str(times.body.get(key, 0.0))) for key in ("scan_s", "floor_s", "focus_s")}
        if times
        else {}
    )
    tail = time.perf_counter() - watch.last_frame_s if watch.last_frame_s is not None else 0.0
    scan, floor, focus = (known.get(key, 0.0) for key in ("scan_s", "floor_s", "focus_s"))
    return Seconds(scan=scan, floor=floor, focus=focus, tail=tail)
