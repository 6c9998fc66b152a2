from collections.abc import Callable

import cv2
import numpy as np
import pytest
import zxingcpp

from scanner.acquisition.identity import IdentityState, identify, is_another, read_label
from scanner.acquisition.locate import locate
from scanner.model.geometry import Point
from scanner.model.profile import OverviewSpec
from scanner.model.slide import Preparation
from scanner.model.tile import Pixels

Formats = zxingcpp.BarcodeFormat


def label(*texts: str, kind: Formats = Formats.DataMatrix, scale: int = 5) -> Pixels:
    """A white label (1250, 1100, 3) with one code below the other."""
    picture = np.full((1250, 1100, 3), 235, np.uint8)
    for i, text in enumerate(texts):
        code = np.array(zxingcpp.create_barcode(text, kind).to_image(scale=scale))
        y = 100 + i * 550
        picture[y : y + code.shape[0], 200 : 200 + code.shape[1]] = code.reshape(*code.shape[:2], 1)
    return picture


@pytest.mark.parametrize("kind", [Formats.DataMatrix, Formats.QRCode, Formats.Code128])
def test_common_codes_are_read(kind: Formats) -> None:
    scale = 3 if kind == Formats.Code128 else 5
    assert read_label(label("CY26-000123", kind=kind, scale=scale)) == ["CY26-000123"]


@pytest.mark.parametrize("degrees", [90, 180, 270, 8])
def test_a_turned_label_is_read(degrees: float) -> None:
    picture = label("CY26-000123")
    turn = cv2.getRotationMatrix2D((550, 625), degrees, 1.0)
    turned = cv2.warpAffine(picture, turn, (1100, 1250), borderValue=(235, 235, 235)).astype(np.uint8)
    assert identify(turned, None).accession == "CY26-000123"


def test_the_label_of_an_overview_picture_is_read(overview: Callable[..., Pixels]) -> None:
    picture = overview(label_text="CY26-778899", seating_um=Point(40, -40))
    located = locate(picture, OverviewSpec(camera="O", um_per_px=20.0), Preparation.THINPREP)
    assert identify(located.label, "CY26-778899").state is IdentityState.READ


def test_a_blurred_and_noisy_label_is_read() -> None:
    blurred = cv2.GaussianBlur(label("CY26-000123"), (0, 0), 1.2).astype(float)
    noisy = np.clip(blurred + np.random.default_rng(1).normal(0, 6, blurred.shape), 0, 255).astype(np.uint8)
    assert identify(noisy, None).accession == "CY26-000123"


def test_a_label_and_a_rack_file_that_differ_are_a_conflict_and_name_nobody() -> None:
    identity = identify(label("CY26-000123"), "CY26-000124")
    assert identity.state is IdentityState.CONFLICT
    assert identity.accession is None
    assert "CY26" not in identity.reason


def test_the_rack_file_tells_which_of_several_codes_counts() -> None:
    both = label("LOT-99", "CY26-000123")
    assert identify(both, "CY26-000123").state is IdentityState.READ
    assert identify(both, None).state is IdentityState.UNREADABLE
    assert identify(both, "CY26-000777").state is IdentityState.CONFLICT


def test_the_same_number_twice_on_a_label_is_one_number() -> None:
    assert identify(label("CY26-000123", "CY26-000123"), None).state is IdentityState.READ


@pytest.mark.parametrize(
    "text",
    ["../../etc/passwd", "<script>alert(1)</script>", "A" * 65, "A\x1b[2JB", "A\nB", " ", "=cmd|calc", "Å1"],
)
def test_a_hostile_code_is_never_an_identity_nor_repeated(text: str) -> None:
    identity = identify(label(text, scale=4), None)
    assert identity.state is IdentityState.UNREADABLE
    assert identity.accession is None
    assert text.strip() == "" or text not in identity.reason


def test_without_a_readable_code_the_rack_files_word_stands_alone_and_says_so() -> None:
    identity = identify(label(), "CY26-000123")
    assert (identity.state, identity.accession) == (IdentityState.UNREADABLE, "CY26-000123")
    assert "rack file" in identity.reason


def test_a_rig_that_sees_no_label_takes_identities_from_the_rack_file() -> None:
    assert identify(None, "CY26-000123").state is IdentityState.FROM_RACK
    assert identify(None, None).state is IdentityState.NONE


def test_only_two_names_that_differ_make_two_slides() -> None:
    named, other, nobody = identify(label("A-1"), None), identify(label("B-2"), None), identify(label(), None)
    assert is_another(named, other)
    assert not is_another(named, named)
    assert not is_another(named, nobody)
    assert not is_another(nobody, named)
