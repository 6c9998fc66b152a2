"""How good is a package on labelled images? Its figures with confidence intervals."""

from collections.abc import Callable
from pathlib import Path

from detection.assess import Figures, assess
from detection.detector import open_detector
from detection.errors import DataError, PackageError
from detection.labelled import read_data
from scanner.errors import BadInput, Problem

Progress = Callable[[int, int, str], None]


def evaluate(package: Path, data: Path, progress: Progress | None = None) -> Figures:
    """Look at all labelled images of a folder.

    Args:
        package: the detector's folder.
        data: crops in class folders, COCO boxes (``slide`` of an image groups fields), or QuPath GeoJSON.
        progress: told (images done, images in all, what).

    Raises:
        BadInput: an unusable package, labels that are not in order, or classes that the package does not know.
    """
    try:
        detector = open_detector(package)
        labelled = read_data(data)
        return assess(detector, labelled, labelled.images, progress or _silent)
    except (PackageError, DataError) as error:
        problems = [
            Problem(text, "give a detector package and data with its classes", error.path)
            for text in error.problems
        ]
        raise BadInput(problems) from error


def _silent(done: int, of: int, what: str) -> None:
    """Nobody listens."""
