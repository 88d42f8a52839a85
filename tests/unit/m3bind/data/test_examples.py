"""The data as it is split and read."""

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import compile_operations
from m3bind.config import load_recipe
from m3bind.data.examples import Example, duplicates, examples, out_of_scope_examples
from m3bind.data.sources import DATASETS, LICENCES, MEASURE_ONLY, ORIGINS, share

RECIPE = load_recipe("mini")
MODALITIES = tuple(RECIPE.modalities)


def test_share_is_even_and_stable():
    drawn = [share(f"key {i}") for i in range(4000)]
    assert 0.47 < np.mean(drawn) < 0.53
    assert share("a") == share("a") != share("b")


@pytest.mark.data
@pytest.mark.parametrize("modality", MODALITIES)
def test_no_group_and_no_file_is_in_two_splits(modality):
    by_split = {s: examples(RECIPE, modality, s) for s in ("train", "calib", "val")}
    assert all(by_split.values())
    assert sum(map(len, by_split.values())) == len(examples(RECIPE, modality))
    for one, other in (("train", "calib"), ("train", "val"), ("calib", "val")):
        assert not {e.group for e in by_split[one]} & {e.group for e in by_split[other]}
        assert not {e.path for e in by_split[one]} & {e.path for e in by_split[other]}


@pytest.mark.data
@pytest.mark.parametrize("modality", MODALITIES)
def test_official_val_is_never_trained_on(modality):
    for example in examples(RECIPE, modality):
        if "not_chest" in str(example.path):
            pytest.fail("out-of-scope images are for measuring only")
    held_out = {"train", "calib"} & {e.split for e in examples(RECIPE, modality, "val")}
    assert not held_out


@pytest.mark.data
@pytest.mark.parametrize("modality", MODALITIES)
def test_an_example_becomes_the_input_that_the_encoder_takes(modality):
    part = RECIPE.modalities[modality]
    step = compile_operations(part.preprocess)
    found = examples(RECIPE, modality, "val")
    for example in (found[0], found[-1]):
        values = step(example.load()).values
        assert values.shape == part.input_shape
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert values.std() > 0


@pytest.mark.data
def test_what_nobody_labelled_is_refused_before_a_file_is_read():
    part = RECIPE.modalities["ecg"]

    def recipe(modality, dataset):
        return RECIPE.model_copy(
            update={"modalities": {modality: part.model_copy(update={"datasets": (dataset,)})}}
        )

    with pytest.raises(ConfigError, match="'mri' is known, only of ct, ecg, pathology, retina, xray"):
        examples(recipe("mri", "ptbxl"), "mri")
    with pytest.raises(ConfigError, match="'nih' labels no finding of 'ecg'"):
        examples(recipe("ecg", "nih"), "ecg")
    with pytest.raises(ConfigError, match="'not_chest' is no data set to train on"):
        examples(recipe("ecg", "not_chest"), "ecg")


@pytest.mark.data
def test_captions_of_an_example_are_true_of_it():
    example = next(e for e in examples(RECIPE, "xray", "val") if e.labels["xray.pneumonia"] == 1)
    texts = example.captions()
    assert "chest radiograph showing pneumonia" in texts
    assert "no pneumonia" not in texts
    assert "normal chest radiograph" not in texts


@pytest.mark.data
def test_duplicates_are_of_bytes_not_of_names(tmp_path):
    def made(split, name, content):
        path = tmp_path / split / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return Example("xray", "set", path, "radiograph", split, name, {})

    train = [made("train", "a.png", b"one"), made("train", "b.png", b"two")]
    val = [made("val", "a.png", b"other"), made("val", "c.png", b"two")]
    assert duplicates(val, train) == (("c.png", "b.png"),)


def test_records_that_share_a_header_are_told_by_their_recording(tmp_path):
    for name, content in (("1", b"x"), ("2", b"y")):
        (tmp_path / f"{name}.hea").write_bytes(b"same")
        (tmp_path / f"{name}.dat").write_bytes(content)
    one, two = (Example("ecg", "set", tmp_path / f"{n}.hea", "ecg", "val", n, {}) for n in ("1", "2"))
    assert duplicates([one], [two]) == ()
    assert duplicates([one], [one]) == (("1.hea", "1.hea"),)


def test_every_data_set_says_where_it_comes_from():
    assert set(LICENCES) == set(ORIGINS) == set(DATASETS) - MEASURE_ONLY
    for name, origin in ORIGINS.items():
        assert origin.cite
        assert origin.links
        assert origin.unit
        if "CC BY 4.0" in LICENCES[name]:
            assert "https://creativecommons.org/licenses/by/4.0/" in origin.links


def test_strangers_are_apart():
    assert len(out_of_scope_examples(RECIPE, "xray")) == 160
    assert len(out_of_scope_examples(RECIPE, "ct")) == 200
    assert out_of_scope_examples(RECIPE, "ecg") == []
    with pytest.raises(ConfigError, match="no modality"):
        examples(RECIPE, "ultrasound", "train")


@pytest.mark.data
def test_leads_are_in_order_and_in_millivolt():
    """Einthoven: I + III = II, and the augmented leads sum to nought."""
    for dataset in ("ptbxl", "ludb"):
        patch = next(e for e in examples(RECIPE, "ecg") if e.dataset == dataset).load()
        i, ii, iii, avr, avl, avf = patch.values[:6]
        assert np.abs(i + iii - ii).max() < 0.02
        assert np.abs(avr + avl + avf).max() < 0.02
        assert 0.3 < np.abs(patch.values).max() < 10
        assert patch.span == (0.0, 10.0)
