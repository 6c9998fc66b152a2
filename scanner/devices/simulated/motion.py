"""Where is each simulated axis at a given moment, really and by its own encoder?"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

SETTLE_S = 0.030
ACCEL_UM_S2 = 4 * 461.0 / 0.070**2
SPEED_UM_S = 20_000.0
POSITION_SIGMA_UM = 2.0
BACKLASH_UM = 3.0
THREAD_ERROR_UM = 2.0
THREAD_PERIOD_UM = 1000.0
READ_BACK_SIGMA_UM = 0.15

Z_STEP_S = 0.020
Z_STEP_UM = 5.0
Z_SPEED_UM_S = 10_000.0
Z_SIGMA_UM = 0.05

XY = tuple[float, float]


def xy_seconds(distance_um: float) -> float:
    """How long an XY move lasts, settling included: 100 ms for one field of 461 µm."""
    if distance_um <= 0:
        return 0.0
    ramp_um = SPEED_UM_S**2 / ACCEL_UM_S2
    if distance_um <= ramp_um:
        return SETTLE_S + 2 * math.sqrt(distance_um / ACCEL_UM_S2)
    return SETTLE_S + 2 * SPEED_UM_S / ACCEL_UM_S2 + (distance_um - ramp_um) / SPEED_UM_S


def z_seconds(distance_um: float) -> float:
    """How long a z move lasts: 20 ms for up to 5 µm, what is beyond at the motor's speed."""
    if distance_um <= 0:
        return 0.0
    return Z_STEP_S + max(0.0, distance_um - Z_STEP_UM) / Z_SPEED_UM_S


def draw(*key: object) -> np.random.Generator:
    """Random numbers that depend on nothing but ``key``."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


@dataclass(frozen=True, slots=True)
class Parked:
    """What the XY stage's mechanics remember: motor place, last direction of each axis, its repeatability error."""

    motor: XY = (0.0, 0.0)
    direction: XY = (1.0, 1.0)
    error: XY = (0.0, 0.0)

    def true(self) -> XY:
        """Where the stage really is: motor, error of this arrival, slack after a backward move, thread."""
        x, y = (
            motor + error + (BACKLASH_UM if direction < 0 else 0.0) + thread_error(motor)
            for motor, error, direction in zip(self.motor, self.error, self.direction, strict=True)
        )
        return x, y


def thread_error(motor_um: float) -> float:
    """The spindle's periodic error, µm."""
    return THREAD_ERROR_UM * math.sin(2 * math.pi * motor_um / THREAD_PERIOD_UM)


@dataclass(frozen=True, slots=True)
class XYMove:
    """One move of the stage from where it was parked to where it will be."""

    start: Parked
    end: Parked
    began_s: float
    lasts_s: float

    def done(self, now_s: float) -> bool:
        """Has the controller reported idle?"""
        return now_s >= self.began_s + self.lasts_s

    def share(self, now_s: float) -> float:
        """How much of the way lies behind, 0 to 1: the ramps of the drive; settling stands still."""
        travel_s = self.lasts_s - SETTLE_S
        if travel_s <= 0:
            return 1.0 if now_s >= self.began_s else 0.0
        t = min(1.0, max(0.0, (now_s - self.began_s) / travel_s))
        return 2 * t * t if t < 0.5 else 1 - 2 * (1 - t) ** 2

    def motor(self, now_s: float) -> XY:
        """What the encoder counts, µm."""
        return _between(self.start.motor, self.end.motor, self.share(now_s))

    def true(self, now_s: float) -> XY:
        """Where the stage really is, µm."""
        return _between(self.start.true(), self.end.true(), self.share(now_s))

    def halted(self, now_s: float) -> "XYMove":
        """The same move stopped where it is now."""
        here = Parked(self.motor(now_s), self.end.direction, self.end.error)
        return XYMove(here, here, now_s, 0.0)


@dataclass(frozen=True, slots=True)
class ZMove:
    """One move of the focus drive; ``error_um`` is what it misses the target by."""

    start_um: float
    end_um: float
    began_s: float
    lasts_s: float
    start_error_um: float
    error_um: float

    def done(self, now_s: float) -> bool:
        """Has the controller reported idle?"""
        return now_s >= self.began_s + self.lasts_s

    def encoder(self, now_s: float) -> float:
        """What the drive reports, µm."""
        return self.start_um + (self.end_um - self.start_um) * self._share(now_s)

    def true(self, now_s: float) -> float:
        """Where the drive really is, drift not counted, µm."""
        error = self.start_error_um + (self.error_um - self.start_error_um) * self._share(now_s)
        return self.encoder(now_s) + error

    def halted(self, now_s: float) -> "ZMove":
        """The same move stopped where it is now."""
        here = self.encoder(now_s)
        return ZMove(here, here, now_s, 0.0, self.error_um, self.error_um)

    def _share(self, now_s: float) -> float:
        if self.lasts_s <= 0:
            return 1.0 if now_s >= self.began_s else 0.0
        return min(1.0, max(0.0, (now_s - self.began_s) / self.lasts_s))


def _between(a: XY, b: XY, share: float) -> XY:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share
