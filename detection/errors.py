"""What can go wrong in detection that a caller can act on?"""

from collections.abc import Sequence


class DetectionError(Exception):
    """Anything that this package refuses, in words for the person who must act."""


class PackageError(DetectionError):
    """A detector package cannot be trusted; ``problems`` lists everything found, not only the first."""

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        super().__init__(f"{path} is not a usable detector package: " + "; ".join(problems))
        self.path = path
        self.problems = tuple(problems)


class ImageRefused(DetectionError):
    """An image that the package was not made for: too coarse, or not RGB of 8 bits."""


class DeviceRefused(DetectionError):
    """A device that cannot do what a detector asks of it."""


class DataError(DetectionError):
    """Labelled data that cannot be learnt from or evaluated on; ``problems`` lists everything found."""

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        super().__init__(f"{path}: " + "; ".join(problems))
        self.path = path
        self.problems = tuple(problems)
