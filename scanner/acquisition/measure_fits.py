"""Which rig explains these measurements? Pure fits from times, displacements and frames to a profile's measured values.

Every fit returns the value and one standard error; nothing here moves or looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from scanner.model.profile import CameraNoise, FlatField, Matrix, XYKinematics, ZKinematics
from scanner.model.tile import Pixels
from scanner.pipeline.flat_estimate import polynomial
from scanner.pipeline.flat_field import illumination
from scanner.pipeline.glass import plateau, uppermost

Floats = NDArray[np.float64]

FLAT_SIDE_PX = 128
# The brightest fifth of what a pixel saw is glass on any slide that has glass, and outlasts dust and cells.
GLASS_QUANTILE = 0.8
LEAST_PIXELS_A_LEVEL = 2000


@dataclass(frozen=True, slots=True)
class Chain:
    """Frames that were registered one to the next: ``stage_um`` (n, 2) reported, ``seen_px`` (n, 2) by the images."""

    stage_um: Floats
    seen_px: Floats


def fit_camera_to_stage(chains: Sequence[Chain]) -> tuple[Matrix, float]:
    """The matrix M with stage = M @ seen + a constant of each chain, by least squares.

    Returns:
        M in stage µm per camera px, and the standard error of its entries.

    Raises:
        ValueError: the chains do not span both axes.
    """
    rows = np.concatenate([chain.seen_px - chain.seen_px.mean(axis=0) for chain in chains])
    target = np.concatenate([chain.stage_um - chain.stage_um.mean(axis=0) for chain in chains])
    normal = rows.T @ rows
    if np.linalg.cond(normal) > 100:
        raise ValueError("the moves do not span both axes")
    solution = np.linalg.solve(normal, rows.T @ target)
    freedom = max(1, len(rows) - len(chains) - 2)
    spread = float(np.sqrt(np.sum((target - rows @ solution) ** 2) / (2 * freedom)))
    error = spread * float(np.sqrt(np.linalg.inv(normal).diagonal().max()))
    (xx, xy), (yx, yy) = solution.T.tolist()
    return ((xx, xy), (yx, yy)), error


def fit_xy_kinematics(distances_um: Floats, seconds: Floats) -> tuple[XYKinematics, float]:
    """Settling, acceleration and top speed of a trapezoidal move from timed moves.

    Returns:
        The kinematics, and the standard deviation of the residuals in ms.
    """

    def model(logs: Floats) -> XYKinematics:
        settle, accel, speed = np.exp(np.clip(logs, -30, 30))
        return XYKinematics(settle_ms=settle, accel_um_s2=accel, speed_um_s=speed)

    def residuals(logs: Floats) -> Floats:
        kinematics = model(logs)
        expected = np.array([kinematics.seconds(d) for d in distances_um])
        relative: Floats = (expected - seconds) / np.maximum(seconds, 1e-3)
        return relative

    fits = [
        least_squares(residuals, np.log([settle, accel, speed]), method="lm", max_nfev=4000)
        for settle in (3.0, 30.0, 100.0)
        for accel in (3e4, 3e5, 3e6, 1e8)
        for speed in (5e3, 3e4, 1e5)
    ]
    best = model(min(fits, key=lambda fit: float(fit.cost)).x)
    off_ms = 1000 * (np.array([best.seconds(d) for d in distances_um]) - seconds)
    return _rounded_xy(best), float(np.sqrt(np.mean(off_ms**2)))


def _rounded_xy(k: XYKinematics) -> XYKinematics:
    """Digits beyond what can be measured are noise in a file that people read."""
    return XYKinematics(
        settle_ms=round(k.settle_ms, 3),
        accel_um_s2=float(f"{k.accel_um_s2:.5g}"),
        speed_um_s=float(f"{k.speed_um_s:.5g}"),
    )


def fit_z_kinematics(distances_um: Floats, seconds: Floats) -> tuple[ZKinematics, float]:
    """The constant part, the distance it covers and the time of every further µm, from timed z moves.

    Returns:
        The kinematics, and the standard deviation of the residuals in ms.
    """
    milliseconds = 1000 * seconds
    longest = float(distances_um.max())
    knee = _best_knee(distances_um, milliseconds, np.linspace(0.0, longest, 401)[:-1])
    about = np.linspace(knee - longest / 400, knee + longest / 400, 101)
    knee = _best_knee(distances_um, milliseconds, np.maximum(0.0, about))
    (step_ms, slope), cost = _z_line(distances_um, milliseconds, knee)
    kinematics = ZKinematics(step_ms=round(step_ms, 3), step_um=round(knee, 2), ms_per_um=round(slope, 4))
    return kinematics, float(np.sqrt(cost / len(distances_um)))


def _best_knee(distances_um: Floats, milliseconds: Floats, knees: Floats) -> float:
    costs = [_z_line(distances_um, milliseconds, knee)[1] for knee in knees]
    return float(knees[int(np.argmin(costs))])


def _z_line(distances_um: Floats, milliseconds: Floats, knee_um: float) -> tuple[tuple[float, float], float]:
    beyond = np.maximum(0.0, distances_um - knee_um)
    terms = np.column_stack([np.ones_like(beyond), beyond])
    (step, slope), *_ = np.linalg.lstsq(terms, milliseconds, rcond=None)
    step, slope = max(0.0, float(step)), max(0.0, float(slope))
    return (step, slope), float(np.sum((step + slope * beyond - milliseconds) ** 2))


def fit_noise(pairs: Sequence[tuple[Pixels, Pixels]]) -> tuple[CameraNoise, float]:
    """Photon transfer: the variance of two frames of the same still field against their level.

    J. R. Janesick, "Photon Transfer" (SPIE, 2007): var = read² + level / gain. A lamp that flickers changes the whole
    frame, so the second frame is scaled to the first.

    Args:
        pairs: frames of (h, w[, 3]) uint8 or uint16 without any movement in between.

    Returns:
        The camera's noise, and the standard error of its electrons per DN.

    Raises:
        ValueError: the field has less than three levels of brightness.
    """
    found = [_variances(*pair) for pair in pairs]
    levels, variances, counts = (np.concatenate(part) for part in zip(*found, strict=True))
    if len(levels) < 3:
        raise ValueError("the field has no range of brightness: noise needs cells as well as glass")
    # The standard error of a variance is the variance itself times sqrt(2 / n).
    weights = np.sqrt(counts / 2) / variances
    terms = np.column_stack([np.ones_like(levels), levels]) * weights[:, None]
    covariance = np.linalg.inv(terms.T @ terms)
    offset, slope = covariance @ terms.T @ (variances * weights)
    slope = max(float(slope), 1e-9)
    noise = CameraNoise(
        electrons_per_dn=round(1 / slope, 4), read_dn=round(float(np.sqrt(max(0.0, float(offset)))), 4)
    )
    return noise, float(np.sqrt(covariance[1, 1])) / slope**2


def _variances(first: Pixels, second: Pixels) -> tuple[Floats, Floats, Floats]:
    """Level, variance and number of pixels for 64 classes of brightness; saturated pixels do not count."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    b *= a.mean() / b.mean()
    level = (a + b) / 2
    full = float(np.iinfo(first.dtype).max)
    usable = (np.maximum(a, b) < 0.98 * full) & (np.minimum(a, b) > 0.01 * full)
    classes = (level[usable] * (64 / full)).astype(np.int64)
    off = (a - b)[usable] ** 2 / 2
    counts = np.bincount(classes, minlength=64).astype(np.float64)
    kept = counts >= LEAST_PIXELS_A_LEVEL
    divisor = np.maximum(counts, 1)
    levels = np.bincount(classes, level[usable], 64) / divisor
    variances = np.maximum(np.bincount(classes, off, 64) / divisor, 1e-6)
    return levels[kept], variances[kept], counts[kept]


def shrunk(frame: Pixels) -> NDArray[np.float32]:
    """(128, 128, c) float32 means of a frame, DN: what the flat field is learnt from."""
    small = cv2.resize(frame.astype(np.float32), (FLAT_SIDE_PX, FLAT_SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small.reshape(FLAT_SIDE_PX, FLAT_SIDE_PX, -1), np.float32)


def fit_flat_field(frames: Sequence[NDArray[np.float32]]) -> tuple[FlatField, float]:
    """The light's fall-off from many fields: what each pixel saw at its brightest is glass.

    Args:
        frames: (128, 128, c) of ``shrunk``, of different places.

    Returns:
        The polynomial with mean 1 over the frame, and the standard deviation of what it leaves.
    """
    glass = np.quantile(
        np.stack([one / np.median(one, axis=(0, 1)) for one in frames]), GLASS_QUANTILE, axis=0
    )
    terms = polynomial(FLAT_SIDE_PX)
    channels, left = [], []
    for plane in np.moveaxis(glass, -1, 0):
        coefficients, *_ = np.linalg.lstsq(terms, plane.ravel(), rcond=None)
        fitted = terms @ coefficients
        channels.append(_nine(coefficients / fitted.mean()))
        left.append(float(np.std(plane.ravel() - fitted)) / float(fitted.mean()))
    return FlatField(coefficients=tuple(channels)), max(left)


def fit_background(
    frames: Sequence[NDArray[np.float32]], field: FlatField, full: float
) -> tuple[tuple[float, ...], float]:
    """The level of empty glass over an evenly lit frame, DN a channel, from ``shrunk`` frames and their light.

    Returns:
        The level, and by how much single frames differ from it (one standard deviation, DN).

    Raises:
        ValueError: no frame shows glass.
    """
    light = illumination(field, (FLAT_SIDE_PX, FLAT_SIDE_PX))
    found = [level for one in frames if (level := plateau(one / light / np.float32(full))) is not None]
    if not found:
        raise ValueError("no field shows empty glass")
    levels = full * uppermost(np.array(found))
    middle = np.median(levels, axis=0)
    return tuple(round(float(one), 2) for one in middle), float(np.std(levels.mean(axis=1)))


def _nine(values: Floats) -> tuple[float, float, float, float, float, float, float, float, float]:
    a, b, c, d, e, f, g, h, i = (round(float(value), 6) for value in values)
    return a, b, c, d, e, f, g, h, i
