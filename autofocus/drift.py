"""How far has the focus wandered since the map was measured?"""

from dataclasses import dataclass

MOST_UM = 10.0
_WANDER_UM2_PER_STEP = 2e-4
_LEAST_GAIN_SIGMA_UM = 0.05


@dataclass(frozen=True, slots=True)
class Drift:
    """A random walk followed by a scalar Kalman filter; capped, so that one bad field cannot run away.

    Attributes:
        z_um: what to add to the map's height.
        sigma_um: its uncertainty (1 sigma).
    """

    z_um: float = 0.0
    sigma_um: float = 0.2

    def updated(self, residual_um: float, sigma_um: float, steps: int = 1) -> "Drift":
        """After a field was found ``residual_um`` above the map alone, ``steps`` fields after the last one.

        A residual beyond four sigma counts as one of four sigma.
        """
        before = self.sigma_um**2 + _WANDER_UM2_PER_STEP * steps
        seen = max(sigma_um, _LEAST_GAIN_SIGMA_UM) ** 2
        most = 4 * (before + seen) ** 0.5
        surprise = min(max(residual_um - self.z_um, -most), most)
        gain = before / (before + seen)
        z_um = min(max(self.z_um + gain * surprise, -MOST_UM), MOST_UM)
        return Drift(z_um, ((1 - gain) * before) ** 0.5)
