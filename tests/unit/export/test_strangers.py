"""Strangers and altered images: of the right form, and the same from the same seed."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.pixels.ops import Patch
from dicom_node.records import Box
from export.other_machines import other_machine
from export.strange_pictures import ANYWHERE, Draw, head_slice, limb, limb_slice, trunk
from export.strange_signals import DERIVED, DRAWN
from export.strangers import OTHER_BODY, OTHER_KIND, PART, strange_images, strange_records
from m3bind.data.examples import Example

pytestmark = pytest.mark.train

READERS = {"radiograph": 2, "ct": 2, "retina": 3, "slide": 3}
"""Each with the rank of its values."""


class Own(Example):
    """An example that is made here, not read."""

    def load(self) -> Patch:
        rng = np.random.default_rng(len(self.group))
        if self.reader == "ecg":
            return Patch(rng.standard_normal((12, 5000)).astype(np.float32), rate=500.0, span=(0.0, 10.0))
        shape = (96, 80, 3) if READERS[self.reader] == 3 else (96, 80)
        values = rng.random(shape).astype(np.float32)
        return Patch(values * 1500 - 1250 if self.reader == "ct" else values, Box(0, 0, 80, 96))


def own(reader: str, group: str = "g") -> Own:
    return Own("m", "d", Path("f"), reader, "train", group, {})


@pytest.mark.parametrize("draw", [*ANYWHERE.values(), limb, trunk])
def test_a_drawn_picture_is_within_0_and_1_and_depends_on_its_seed_alone(draw: Draw) -> None:
    one, same, other = (draw(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one.dtype == np.float32
    assert one.ndim == 2
    assert 0.0 <= one.min() <= one.max() <= 1.0
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("draw", [head_slice, limb_slice])
def test_a_drawn_slice_has_air_and_bone(draw: Draw) -> None:
    hu = draw(np.random.default_rng(3))
    assert hu.min() < -900
    assert hu.max() > 600


@pytest.mark.parametrize(("reader", "rank"), READERS.items())
def test_strangers_have_the_form_that_the_reader_hands_over(reader: str, rank: int) -> None:
    others = [own("ct", "a"), own("ecg", "b"), own("slide", "c"), own("radiograph", "dd")]
    made = strange_images(reader, [own(reader)], others, 3, np.random.default_rng(1))
    assert {*ANYWHERE, OTHER_KIND, PART} <= {each.kind for each in made}
    assert (OTHER_BODY in {each.kind for each in made}) == (reader in ("radiograph", "ct"))
    for each in made:
        assert each.patch.values.dtype == np.float32
        assert each.patch.values.ndim == rank
        if reader != "ct":
            assert -0.01 <= each.patch.values.min() <= each.patch.values.max() <= 1.01


def test_strange_records_have_twelve_leads_and_a_rate() -> None:
    made = strange_records([own("ecg")], 4, np.random.default_rng(1))
    assert {each.kind for each in made} == {*DRAWN, *DERIVED}
    for each in made:
        assert each.patch.values.shape[0] == 12
        assert each.patch.values.dtype == np.float32
        assert each.patch.rate is not None


@pytest.mark.parametrize("reader", [*READERS, "ecg", "a reader to come"])
def test_another_machine_makes_the_same_kind_of_input(reader: str) -> None:
    patch = own(reader if reader in (*READERS, "ecg") else "radiograph").load()
    before = patch.values.copy()
    altered = [other_machine(patch, reader, np.random.default_rng(seed)) for seed in range(12)]
    np.testing.assert_array_equal(patch.values, before)
    for each in altered:
        assert each.values.dtype == np.float32
        assert each.values.ndim == patch.values.ndim
        assert np.isfinite(each.values).all()
        assert each.rate == patch.rate
    assert not np.array_equal(altered[0].values, altered[1].values)


def test_another_machine_keeps_the_laws_of_the_limb_leads() -> None:
    patch = own("ecg").load()
    one, two = patch.values[0], patch.values[1]
    patch.values[2:6] = two - one, -(one + two) / 2, one - two / 2, two - one / 2
    for seed in range(6):
        values = other_machine(patch, "ecg", np.random.default_rng(seed)).values
        np.testing.assert_allclose(values[0] + values[2], values[1], atol=1e-4)
        np.testing.assert_allclose(values[3:6].sum(axis=0), 0, atol=1e-4)
