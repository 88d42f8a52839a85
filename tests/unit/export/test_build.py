"""A real, if small, checkpoint of one modality goes all the way to a sealed bundle."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")
import torch
from torch import nn

from dicom_node.bundle.manifest import Encoder
from dicom_node.bundle.store import open_bundle
from dicom_node.engine import Engine
from dicom_node.errors import BundleIntegrityError, ConfigError
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.records import Sample, SourceRef, Status, StudyRead, View
from export.build import Options, build
from export.catalogue import LEAST_AUC, LEAST_POSITIVES
from export.dicom import sample_values
from export.encode import spread
from export.graphs import export_text, export_tower
from export.seal import workshop
from export.selftest import LEVELS, MIN_COSINE, realistic, synthetic
from export.verify import verify
from m3bind.checkpoint import random_model, save_checkpoint
from m3bind.config import ModalityRecipe, WaveformTowerRecipe, load_recipe
from m3bind.data.catalogue import findings_of

pytestmark = pytest.mark.train

SMALL = Options(
    threads=1, most_examples=60, version="9.8.7", largest_graph=100_000, notes=("Made on a Sunday.",)
)
"""The text encoder is larger than such a graph may be; the ECG encoder is not."""


class TinyTower(nn.Module):
    """A convolution, a mean, a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        evidence = self.convolution(pixels).permute(0, 2, 3, 1)
        return nn.functional.normalize(evidence.mean(dim=(1, 2)), dim=-1), evidence


class TinyText(nn.Module):
    """Its word table bears the name that clashes with the output's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 8)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        embedding = self.embedding(input_ids) * attention_mask.unsqueeze(-1)
        return nn.functional.normalize(embedding.sum(dim=1), dim=-1)


def test_an_image_graph_answers_as_its_tower_for_any_batch(tmp_path: Path) -> None:
    tower = TinyTower().eval()
    export_tower(tower, (3, 16, 16), tmp_path / "tower.onnx")
    runner = OnnxRunner(tmp_path / "tower.onnx", threads=1)
    for batch in (1, 2, 5):
        given = torch.randn(batch, 3, 16, 16)
        embedding, evidence = (each.detach().numpy() for each in tower(given))
        answer = runner.run({"input": given.numpy()})
        np.testing.assert_allclose(answer["embedding"], embedding, atol=1e-5)
        np.testing.assert_allclose(answer["evidence"], evidence, atol=1e-5)


class Blind(nn.Module):
    """A tower without local vectors, for small images that are not square, with one output more."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TinyTower()

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor]:
        return self.inner(pixels)[0], None, pixels.mean(dim=(2, 3))


def test_a_tower_without_local_vectors_gives_no_evidence(tmp_path: Path) -> None:
    tower, path = Blind().eval(), tmp_path / "tower.onnx"
    assert export_tower(tower, (3, 12, 20), path, further=["signature"]) == ("embedding", "signature")
    given = torch.randn(3, 3, 12, 20)
    answer = OnnxRunner(path, threads=1).run({"input": given.numpy()})
    assert set(answer) == {"embedding", "signature"}
    np.testing.assert_allclose(answer["embedding"], tower(given)[0].detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(answer["signature"], given.mean(dim=(2, 3)).numpy(), atol=1e-5)


def test_a_text_graph_answers_as_its_tower_for_any_length(tmp_path: Path) -> None:
    tower = TinyText().eval()
    export_text(tower, tmp_path / "text.onnx")
    runner = OnnxRunner(tmp_path / "text.onnx", threads=1)
    for batch, length in ((1, 1), (3, 9)):
        ids = torch.randint(0, 30, (batch, length))
        mask = torch.ones_like(ids)
        answer = runner.run({"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        np.testing.assert_allclose(answer["embedding"], tower(ids, mask).detach().numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = load_recipe("mini")
    ecg = recipe.modalities["ecg"]
    tower = WaveformTowerRecipe(kind="conv1d", widths=(16, 16), kernel=7, dropout=0.0)
    narrow = ecg.model_copy(update={"tower": tower})
    text = recipe.text.model_copy(update={"student_layers": (0,), "student_frozen": 1})
    small = recipe.model_copy(update={"modalities": {"ecg": narrow}, "text": text})
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(random_model(small, commit="0" * 40), folder)
    return folder


@pytest.mark.data
def test_a_checkpoint_becomes_a_bundle_that_a_node_serves(checkpoint: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = build(checkpoint, tmp_path / "bundle", said.append, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
    assert said[-1].startswith(str(out))
    bundle = open_bundle(out)
    assert bundle.manifest.provenance.commit == "0" * 40
    assert bundle.manifest.version == "9.8.7"
    assert bundle.manifest.selftest.min_cosine == MIN_COSINE
    metrics = bundle.manifest.provenance.metrics
    assert [each["id"] for each in metrics["findings"]] == [entry.id for entry in bundle.findings]
    assert bundle.manifest.format == 2
    assert bundle.manifest.text.weights == ("text.onnx.weights",)
    assert bundle.manifest.encoders["ecg"].weights == ()
    assert bundle.manifest.encoders["ecg"].evidence
    assert metrics["parity"]["ecg"]["kept"]["recall"] >= 0.99
    catalogue = {spec.id for spec in findings_of("ecg") if spec.code is not None}
    assert {entry.id for entry in bundle.findings} == catalogue
    assert set(bundle.scope) == {"ecg"}
    assert set(verify(out, threads=1).lowest_cosine) == {"ecg", "text"}
    with np.load(out / "selftest.npz") as sealed:
        assert sealed["ecg.evidence"].shape[0] == sealed["ecg.input"].shape[0] >= 2
    card = (out / "MODEL_CARD.md").read_text()
    assert "Made on a Sunday." in card
    assert metrics["sealed_by"] in card
    assert "Not a medical device" in card
    figures = {each["id"]: each for each in metrics["findings"]}
    for entry in bundle.findings:
        assert f"`{entry.id}`" in card
        assert entry.disabled_because is None or entry.disabled_because in card
        if entry.measured is None or entry.operating_point is None:
            assert not entry.enabled
            continue
        assert f"{figures[entry.id]['auc']['value']:.3f}" in card
        assert entry.measured.auc_ci[0] <= entry.measured.auc <= entry.measured.auc_ci[1]
        assert not entry.enabled or (
            entry.measured.auc >= LEAST_AUC and entry.measured.positives >= LEAST_POSITIVES
        )
        assert entry.operating_point.sensitivity.n > 0
    engine = Engine.load(out, providers=["cpu"], threads=1)
    source = SourceRef("1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.3")
    sample = Sample(synthetic((12, 1000))[0], source, span=(0.0, 10.0))
    made = engine.assess("1.9", StudyRead((View("ecg", "1.2", (sample,), (source,)),), ()))
    assert made.status in (Status.REPORTED, Status.OUT_OF_SCOPE)
    (out / "text.onnx").write_bytes(b"")
    with pytest.raises(BundleIntegrityError):
        verify(out)


def test_a_bundle_too_large_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"takes 2\.0 MB, more than 1 MB"), workshop(tmp_path / "bundle", 1):
        (next(tmp_path.iterdir()) / "bundle.json").write_bytes(bytes(2_000_000))
    assert list(tmp_path.iterdir()) == []


def test_nothing_but_a_bundle_is_ever_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.md").write_text("all of it")
    with pytest.raises(ConfigError, match="is no bundle"), workshop(precious):
        pass
    assert (precious / "chapter.md").read_text() == "all of it"


def test_the_old_bundle_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    with workshop(out) as folder:
        (folder / "bundle.json").write_text("old")
    with pytest.raises(ZeroDivisionError), workshop(out) as folder:
        (folder / "bundle.json").write_text(f"new {1 // 0}")
    assert (out / "bundle.json").read_text() == "old"
    with workshop(out) as folder:
        (folder / "bundle.json").write_text("new")
    assert (out / "bundle.json").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_examples_are_spread_over_the_whole_list() -> None:
    numbers = list(range(100))
    assert spread(numbers, 5) == [0, 25, 50, 74, 99]  # type: ignore[arg-type, comparison-overlap]
    assert spread(numbers, 200) == numbers  # type: ignore[arg-type, comparison-overlap]


@pytest.mark.parametrize("shape", [(3, 64, 48), (12, 1000)])
def test_self_test_inputs_are_always_the_same(shape: tuple[int, ...]) -> None:
    first, second = synthetic(shape), synthetic(shape)
    assert first.shape == (2, *shape)
    np.testing.assert_array_equal(first, second)
    assert 0.2 < first.std() < 1
    np.testing.assert_array_equal(first * 64, np.round(first * 64))


def test_self_test_inputs_look_like_the_samples_that_ship() -> None:
    ecg = load_recipe("mini").modalities["ecg"]
    values = sample_values("ecg", encoder_of(ecg))
    (whole,) = values
    made = realistic(values)
    assert made is not None
    np.testing.assert_allclose(made, np.stack([whole, whole[..., ::-1]]), atol=0.5 / LEVELS + 1e-6)
    np.testing.assert_array_equal(made * LEVELS, np.round(made * LEVELS))
    assert realistic([]) is None
    assert sample_values("no_such_modality", encoder_of(ecg)) == []


def test_self_test_images_are_halved() -> None:
    image = np.random.default_rng(3).random((3, 8, 6)).astype(np.float32)
    made = realistic([image, image, image])
    assert made is not None
    assert made.shape == (2, 3, 8, 6)
    np.testing.assert_array_equal(made[0, :, ::2, ::2], made[0, :, 1::2, 1::2])
    np.testing.assert_allclose(made[0, 0, 0, 0], image[0, :2, :2].mean(), atol=0.5 / LEVELS + 1e-6)


def encoder_of(part: ModalityRecipe) -> Encoder:
    return Encoder(
        file="x.onnx",
        reader=part.reader,
        sampling=part.sampling,
        preprocess=part.preprocess,
        input_shape=part.input_shape,
        evidence=True,
        pooling=part.pooling,
    )
