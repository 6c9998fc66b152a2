"""Do racks, slots and preparations hold what a lab means by them?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from scanner.model.slide import GLASS_UM, LABEL_UM, Preparation, Rack, RackSlot, Slide

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(slots=st.lists(st.integers(1, 400), min_size=1, max_size=20, unique=True), name=st.none() | names)
def test_a_rack_keeps_the_order_in_which_its_slots_are_scanned(slots: list[int], name: str | None) -> None:
    rack = Rack(slots=tuple(RackSlot(slot=slot, slide=name) for slot in slots))
    assert [entry.slot for entry in rack.slots] == slots
    assert Rack.model_validate_json(rack.model_dump_json()) == rack


@given(slots=st.lists(st.integers(1, 9), min_size=1, max_size=8), again=st.data())
def test_a_rack_that_names_a_slot_twice_is_refused_with_the_slot(
    slots: list[int], again: st.DataObject
) -> None:
    twice = again.draw(st.sampled_from(slots))
    with pytest.raises(ValidationError, match=rf"slot .*{twice}.* named more than once"):
        Rack(slots=tuple(RackSlot(slot=slot) for slot in [*slots, twice]))


@pytest.mark.parametrize("text", ["", "../../etc", "a b", "x" * 65, "-rf", "a\nb", "<script>", "é"])
def test_a_slide_name_that_could_do_harm_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        RackSlot(slot=1, slide=text)


@pytest.mark.parametrize("slot", [0, -1])
def test_slots_count_from_one(slot: int) -> None:
    with pytest.raises(ValidationError):
        RackSlot(slot=slot)


def test_an_empty_rack_and_an_unknown_key_are_refused() -> None:
    with pytest.raises(ValidationError):
        Rack(slots=())
    with pytest.raises(ValidationError, match="extra"):
        RackSlot.model_validate({"slot": 1, "patient": "N. N."})


@pytest.mark.parametrize("slide_id", ["", "1/2", "..", "1 2", "-1"])
def test_a_slide_id_is_always_a_safe_folder_name(slide_id: str) -> None:
    with pytest.raises(ValidationError):
        Slide(slot=1, slide_id=slide_id)


@pytest.mark.parametrize("preparation", Preparation)
def test_every_deposit_lies_on_the_glass_and_clear_of_the_label(preparation: Preparation) -> None:
    assert GLASS_UM.covers(preparation.deposit_um)
    assert not LABEL_UM.overlaps(preparation.deposit_um)


def test_liquid_based_slides_need_fewer_cells_than_smears() -> None:
    least = {preparation: preparation.least_cells for preparation in Preparation}
    assert least == {Preparation.THINPREP: 5_000, Preparation.SUREPATH: 5_000, Preparation.SMEAR: 8_000}
