"""How good is a package on labelled images? Its figures with confidence intervals, and the page that shows them."""

from collections.abc import Callable
from pathlib import Path

from detection.assess import PLAIN, Question, assess
from detection.errors import DataError, PackageError
from detection.figures import Figures
from detection.labelled import read_data
from detection.opening import open_detector
from detection.seen import too_coarse, unknown_classes
from detection.slide_level import Rule
from scanner.errors import BadInput, Problem
from scanner.offline.evaluate_page import write_evaluation_page
from scanner.offline.focus_page import check_place
from scanner.storage.images import stated_scale

Progress = Callable[[int, int, str], None]


def rule_of(sensitivity: float | None, operating_point: float | None) -> Rule:
    """The operating point that was asked for.

    Raises:
        BadInput: both at once, a sensitivity that is not over 0 up to 1, a point that is not 0..1.
    """
    problems = []
    if sensitivity is not None and operating_point is not None:
        problems.append(Problem("two operating points", "give --sensitivity or --operating-point, not both"))
    if sensitivity is not None and not 0 < sensitivity <= 1:
        problems.append(
            Problem(f"{sensitivity:g} is no sensitivity", "give a share such as --sensitivity 0.99")
        )
    if operating_point is not None and not 0 <= operating_point <= 1:
        problems.append(Problem(f"{operating_point:g} is no slide score", "give one of 0 to 1"))
    if problems:
        raise BadInput(problems)
    return Rule(sensitivity, operating_point)


def evaluate(
    package: Path,
    data: Path,
    progress: Progress | None = None,
    question: Question = PLAIN,
    report: Path | None = None,
) -> Figures:
    """Look at all labelled images of a folder.

    Args:
        package: the detector's folder.
        data: crops in class folders, COCO boxes (``slide`` of an image groups fields), or QuPath GeoJSON.
        progress: told (images done, images in all, what).
        question: the operating point, and whether to look at changed images too.
        report: the page to write.

    Raises:
        BadInput: an unusable package, labels that are not in order, classes that the package does not know, images
            too coarse for it, or a page that cannot be written there; every problem at once.
    """
    check_place(report)
    try:
        detector = open_detector(package)
        labelled = read_data(
            data,
            lambda read: [
                *unknown_classes(read, detector.package.classes),
                *too_coarse(read, detector.package.config.spacing_um_px),
            ],
            stated_scale,
        )
        assessment = assess(detector, labelled, labelled.images, progress or _silent, question)
    except PackageError as error:
        raise _refused(error, "give a detector package") from error
    except DataError as error:
        raise _refused(error, "correct the data, or give a package made for them") from error
    if report is not None:
        command = _command(package, data, question)
        of = f"all labelled images of {data.resolve().name}"
        write_evaluation_page(report, "Evaluation", detector.package, assessment, of, command)
    return assessment.figures


def _command(package: Path, data: Path, question: Question) -> str:
    words = ["rackscan evaluate", package.resolve().name, "--data", data.resolve().name]
    if question.rule.sensitivity is not None:
        words.append(f"--sensitivity {question.rule.sensitivity:g}")
    if question.rule.threshold is not None:
        words.append(f"--operating-point {question.rule.threshold:g}")
    return " ".join([*words, *(["--stress"] if question.stress else [])])


def _refused(error: PackageError | DataError, mend: str) -> BadInput:
    return BadInput([Problem(text, mend, error.path) for text in error.problems])


def _silent(done: int, of: int, what: str) -> None:
    """Nobody listens."""
