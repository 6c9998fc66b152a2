"""Can the pixels of a recorded stack be focused, and how are few bits stretched to the range of their type?"""

from collections.abc import Sequence

import numpy as np

from scanner.storage.stacks import Plane

_SHORTER_BITS = (10, 12, 14)
_LIT = 0.25


def fault_of_pixels(planes: Sequence[Plane]) -> str:
    """Why these pixels can have no answer; "" where they can."""
    for number, plane in enumerate(planes):
        if np.issubdtype(plane.dtype, np.floating) and not np.isfinite(plane).all():
            return f"plane {number} holds values that are not numbers"
    for number, plane in enumerate(planes):
        if plane.dtype not in (np.uint8, np.uint16):
            return f"plane {number} holds {plane.dtype}, not 8 or 16 bit pixels"
    return ""


def full_range(planes: Sequence[Plane]) -> tuple[Plane, ...]:
    """10, 12 or 14 bits in 16, as cameras store them, stretched so that full light is the largest number.

    Told by the brightest pixel of the stack, which must be over a quarter of that range: a dark field stays dark.
    """
    if not planes or any(plane.dtype != np.uint16 for plane in planes):
        return tuple(planes)
    brightest = max(int(plane.max(initial=0)) for plane in planes)
    bits = next((n for n in _SHORTER_BITS if _LIT * 2**n <= brightest < 2**n), 16)
    return tuple(planes) if bits == 16 else tuple(_stretched(plane, bits) for plane in planes)


def _stretched(plane: Plane, bits: int) -> Plane:
    """The upper bits again below, so that zero stays zero and full becomes full."""
    stretched: Plane = (plane << (16 - bits)) | (plane >> (2 * bits - 16))
    return stretched
