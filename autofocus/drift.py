"""How far has the focus wandered since the map was measured, and where is it heading?"""

import math
from dataclasses import dataclass, replace

MOST_UM = 12.0
_MOST_UM_PER_STEP = 2e-3
_RATE_UM_PER_STEP = 1e-3
_WANDER_UM2 = 2e-7
_WANDER_RATE2 = 4e-11
_LEAST_GAIN_SIGMA_UM = 0.05
_BELIEVED_SIGMA = 3.0
_REFUSED_SIGMA = 5.0
_A_JUMP = 8
_BESIDE_SIGMA = 2.0


@dataclass(frozen=True, slots=True)
class Drift:
    """Level and rate followed by a Kalman filter, so that a steady drift leaves no lag behind (R. E. Kalman, 1960).

    A step is the time of one field, about 0.14 s; whoever waits longer counts more steps. Warming up by 30 µm/h is
    1.2e-3 µm a step. A field that lies beyond belief counts less the farther off it is, and not at all in the end
    (F. R. Hampel et al., "Robust Statistics", 1986); eight in a row well off on one side are a jump.

    Attributes:
        z_um: what to add to the map's height.
        sigma_um: its uncertainty (1 sigma).
        rate_um: by how much that grows a step.
        rate_sigma_um: the uncertainty of the rate.
        shared_um2: covariance of level and rate.
        beside: how many fields in a row lay well above what was expected, negative where they lay below.
    """

    z_um: float = 0.0
    sigma_um: float = 0.2
    rate_um: float = 0.0
    rate_sigma_um: float = _RATE_UM_PER_STEP
    shared_um2: float = 0.0
    beside: int = 0

    @property
    def capped(self) -> bool:
        """The fields say that the focus wandered farther than any focus does: their word is not to be followed."""
        return abs(self.z_um) >= MOST_UM

    def after(self, steps: float) -> "Drift":
        """What is believed when nothing was measured for so many more steps."""
        level2, rate2 = self.sigma_um**2, self.rate_sigma_um**2
        level2 += (
            2 * steps * self.shared_um2
            + steps**2 * rate2
            + _WANDER_UM2 * steps
            + _WANDER_RATE2 * steps**3 / 3
        )
        return Drift(
            _within(self.z_um + self.rate_um * steps, MOST_UM),
            math.sqrt(level2),
            self.rate_um,
            math.sqrt(rate2 + _WANDER_RATE2 * steps),
            self.shared_um2 + steps * rate2 + _WANDER_RATE2 * steps**2 / 2,
            self.beside,
        )

    def updated(self, residual_um: float, sigma_um: float, steps: float = 1) -> "Drift":
        """After a field was found ``residual_um`` above the map alone, ``steps`` fields after the last one."""
        now = self.after(steps)
        off_um, noise2 = residual_um - now.z_um, max(sigma_um, _LEAST_GAIN_SIGMA_UM) ** 2
        beside = _counted(self.beside, off_um, math.sqrt(now.sigma_um**2 + noise2))
        if abs(beside) >= _A_JUMP:
            now, beside = replace(now, sigma_um=abs(off_um)), 0
        level2, rate2 = now.sigma_um**2, now.rate_sigma_um**2
        seen2 = level2 + noise2
        surprise = _believed(off_um, math.sqrt(seen2))
        gain, rate_gain = level2 / seen2, now.shared_um2 / seen2
        return Drift(
            _within(now.z_um + gain * surprise, MOST_UM),
            math.sqrt((1 - gain) * level2),
            _within(now.rate_um + rate_gain * surprise, _MOST_UM_PER_STEP),
            math.sqrt(max(rate2 - rate_gain * now.shared_um2, 0.0)),
            (1 - gain) * now.shared_um2,
            beside,
        )


def _counted(before: int, off_um: float, sigma_um: float) -> int:
    """Fields in a row well off on one side, this one included."""
    if abs(off_um) <= _BESIDE_SIGMA * sigma_um:
        return 0
    side = 1 if off_um > 0 else -1
    return before + side if before * side > 0 else side


def _believed(off_um: float, sigma_um: float) -> float:
    """All of it up to three sigma, nothing beyond five."""
    most, none = _BELIEVED_SIGMA * sigma_um, _REFUSED_SIGMA * sigma_um
    fading = most * max(none - abs(off_um), 0.0) / (none - most)
    return _within(off_um, min(most, fading))


def _within(value: float, most: float) -> float:
    return min(max(value, -most), most)
