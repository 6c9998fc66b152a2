"""What does the second look say of a cell that it is shown more than once?

Of a patch that it suspects it also judges mirror images, whose mean it says. Where it says boxes it can be shown these
around the box that it said first: a first look often points at one nucleus of a group, and all that point at the group
then see the same (iterative box refinement; Gidaris & Komodakis, ICCV 2015).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from detection.detections import Floats
from detection.package import BOX, Extension, SecondLook
from detection.second_look import Numbers, box_of, middles_of, patches, placed, suspicion

MIRRORS = ((3,), (2,), (2, 3))
AS_IT_IS = ()


def answers_to(
    second: Callable[[Floats], Floats],
    around: Sequence[tuple[Floats, Numbers]],
    extension: Extension,
    look: SecondLook,
) -> Floats:
    """(n, outputs) what the network ``second`` says of the candidates of several images.

    ``around`` are each image's (3, h, w) densities and (m, 4) boxes of its candidates, n in all.
    """
    answers = second(np.concatenate([patches(density, boxes, look) for density, boxes in around]))
    doubtful = suspected(answers, extension, look)
    if not len(doubtful):
        return answers
    every = [boxes for _, boxes in around]
    again = centres(every, answers, doubtful, look)
    shown = np.concatenate([patches(d, own, look) for (d, _), own in zip(around, again, strict=True)])
    views = [second(np.ascontiguousarray(np.flip(shown, axes))) for axes in views_of(look)]
    return with_views(answers, doubtful, views, look, np.concatenate(every))


def suspected(answers: Floats, extension: Extension, look: SecondLook) -> NDArray[np.intp]:
    """(d,) of which candidates further views are asked for."""
    if look.mirrored_from is None:
        return np.zeros(0, np.intp)
    return np.flatnonzero(suspicion(answers, extension, look) >= look.mirrored_from)


def centres(
    every: Sequence[Numbers], answers: Floats, doubtful: NDArray[np.intp], look: SecondLook
) -> list[Numbers]:
    """Of each image the boxes around which the ``doubtful`` candidates are seen again."""
    boxes = np.concatenate(every)[doubtful]
    again = placed(boxes, answers[doubtful, -BOX:]) if look.centred else boxes
    return np.split(again, np.searchsorted(doubtful, np.cumsum([len(own) for own in every])[:-1]))


def views_of(look: SecondLook) -> tuple[tuple[int, ...], ...]:
    """Along which axes of (n, 3, s, s) patches the further views are mirrored."""
    return (AS_IT_IS, *MIRRORS) if look.centred else MIRRORS


def with_views(
    answers: Floats,
    doubtful: NDArray[np.intp],
    views: Sequence[Floats],
    look: SecondLook,
    boxes: Numbers,
) -> Floats:
    """``answers`` where those that are ``doubtful`` are means over all views.

    ``views`` are (d, outputs) each, in the order of ``views_of``; ``boxes`` (n, 4) are the first look's. A box is the
    mean of those views that were cut around one place.
    """
    first, changed = answers[doubtful], answers.copy()
    back = [_turned_back(view, axes, look) for view, axes in zip(views, views_of(look), strict=True)]
    changed[doubtful] = np.mean([first, *back], axis=0)
    if look.centred:
        nearer = placed(boxes[doubtful], first[:, -BOX:])
        said = placed(nearer, np.mean(back, axis=0)[:, -BOX:])
        changed[doubtful, -BOX:] = box_of(middles_of(boxes[doubtful]), said)
    return changed


def _turned_back(view: Floats, axes: tuple[int, ...], look: SecondLook) -> Floats:
    """What was said of mirrored patches, as of those that are not."""
    back = view.copy()
    if look.places:
        back[:, [-BOX + 3 - axis for axis in axes]] *= -1
    return back
