"""Which slide is this? What the label says, held against what the rack file says.

A code on a label is hostile input: its text goes nowhere before it has the form of an accession number.
"""

import re
from enum import StrEnum

import cv2
import zxingcpp

from scanner.model.base import Value
from scanner.model.tile import Pixels

ACCESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class IdentityState(StrEnum):
    """How the identity came about."""

    READ = "read"
    UNREADABLE = "unreadable"
    CONFLICT = "conflict"
    FROM_RACK = "from-rack"
    NONE = "none"


class Identity(Value):
    """Who a slide is. ``reason`` says in words how that is known, and never repeats what a label says."""

    accession: str | None
    state: IdentityState
    reason: str


def read_label(label: Pixels) -> list[str]:
    """The texts of all valid codes on a label (h, w, 3) or (h, w) uint8, in any direction, sorted, each once."""
    grey = cv2.cvtColor(label, cv2.COLOR_RGB2GRAY) if label.ndim == 3 else label
    found = {code.text for code in zxingcpp.read_barcodes(grey) if code.valid}
    if not found:
        # a module of two overview pixels is at the reader's limit: twice the size reads more
        larger = cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        found = {code.text for code in zxingcpp.read_barcodes(larger) if code.valid}
    return sorted(found)


def identify(label: Pixels | None, expected: str | None) -> Identity:
    """The identity of a slide.

    Args:
        label: its picture, None on a rig that sees no label.
        expected: what the rack file says, None where it says nothing.
    """
    if label is None:
        return _without_label(expected, "this rig sees no label")
    texts = read_label(label)
    readable = [text for text in texts if ACCESSION.fullmatch(text)]
    if expected is not None and expected in readable:
        return Identity(
            accession=expected, state=IdentityState.READ, reason="the label agrees with the rack file"
        )
    if len(readable) == 1:
        return _one_code(readable[0], expected)
    return _no_single_code(len(texts), len(readable), expected)


def is_another(now: Identity, before: Identity) -> bool:
    """Do two looks at a slide name different ones? Where one of them saw no name, nothing contradicts."""
    return None not in (now.accession, before.accession) and now.accession != before.accession


def _without_label(expected: str | None, why: str) -> Identity:
    if expected is None:
        return Identity(
            accession=None, state=IdentityState.NONE, reason=f"{why} and the rack file names no slide"
        )
    return Identity(
        accession=expected, state=IdentityState.FROM_RACK, reason=f"{why}: taken from the rack file"
    )


def _one_code(text: str, expected: str | None) -> Identity:
    if expected is None:
        return Identity(accession=text, state=IdentityState.READ, reason="read from the label")
    reason = "the label and the rack file name different slides: compare the glass with the request form"
    return Identity(accession=None, state=IdentityState.CONFLICT, reason=reason)


def _no_single_code(codes: int, readable: int, expected: str | None) -> Identity:
    if readable > 1 and expected is not None:
        reason = f"the label carries {codes} codes and none of them is the slide of the rack file"
        return Identity(accession=None, state=IdentityState.CONFLICT, reason=reason)
    if codes == 0:
        reason = "no code on the label could be read"
    elif readable == 0:
        reason = "the code on the label has not the form of an accession number"
    else:
        reason = f"the label carries {codes} different codes and nothing says which one counts"
    if expected is not None:
        reason += ": the rack file's word stands alone"
    return Identity(accession=expected, state=IdentityState.UNREADABLE, reason=reason)
