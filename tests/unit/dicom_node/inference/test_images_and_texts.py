from collections.abc import Mapping

import numpy as np
import pytest

from dicom_node.bundle.manifest import Text
from dicom_node.errors import InferenceError
from dicom_node.inference.batching import batches
from dicom_node.inference.images import encode_samples
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.protocol import Array
from dicom_node.inference.texts import MAX_TEXTS, TextEncoder, load_tokenizer
from tests.support.bundles import TINY

SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def runner() -> OnnxRunner:
    return OnnxRunner(TINY / "encoders/xray.onnx", threads=1)


def text_encoder(max_tokens: int = 16, lowercase: bool = False) -> TextEncoder:
    tokenizer = load_tokenizer(TINY / "tokenizer.json", max_tokens)
    text = Text(max_tokens=max_tokens, lowercase=lowercase)
    return TextEncoder(OnnxRunner(TINY / "text.onnx", threads=1), tokenizer, text)


@pytest.mark.parametrize(
    ("n", "max_batch", "sizes"), [(5, 2, [2, 2, 1]), (2, 2, [2]), (1, 9, [1]), (0, 3, [])]
)
def test_batches_keep_order_and_limit(n: int, max_batch: int, sizes: list[int]) -> None:
    samples = [np.full(SHAPE, index, np.float32) for index in range(n)]
    cut = list(batches(samples, max_batch))
    assert [len(batch) for batch in cut] == sizes
    assert [float(row[0, 0, 0]) for batch in cut for row in batch] == list(range(n))


def test_a_batch_of_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(batches([np.zeros(SHAPE, np.float32)], 0))


def test_batches_do_not_change_the_vectors(runner: OnnxRunner) -> None:
    rng = np.random.default_rng(5)
    samples = [rng.standard_normal(SHAPE).astype(np.float32) for _ in range(5)]
    small, large = (encode_samples(runner, samples, SHAPE, max_batch) for max_batch in (2, 16))
    np.testing.assert_allclose(small.embeddings, large.embeddings, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(large.embeddings, axis=1), 1, atol=1e-5)
    assert large.evidence is not None
    assert large.evidence.shape == (5, 4, 4, 16)


def test_a_sample_of_another_shape_is_an_error(runner: OnnxRunner) -> None:
    with pytest.raises(InferenceError, match=r"shape \[3, 32, 32\], not \[1, 32, 32\]"):
        encode_samples(runner, [np.zeros((1, 32, 32), np.float32)], SHAPE)


def test_no_sample_is_an_error(runner: OnnxRunner) -> None:
    with pytest.raises(InferenceError, match="without samples"):
        encode_samples(runner, [], SHAPE)


def test_an_answer_that_is_not_finite_is_an_error(runner: OnnxRunner) -> None:
    with pytest.raises(InferenceError, match="not finite"):
        encode_samples(runner, [np.full(SHAPE, np.nan, np.float32)], SHAPE)


class HalfPrecision:
    """What a server in half precision, without evidence, answers."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"embedding": np.ones((len(inputs["input"]), 4), np.float16) / 2}


def test_half_precision_and_no_evidence_are_understood() -> None:
    vectors = encode_samples(HalfPrecision(), [np.zeros(SHAPE, np.float32)], SHAPE)
    assert vectors.embeddings.dtype == np.float32
    assert vectors.evidence is None


def test_texts_are_padded_to_the_longest_and_cut_at_the_most() -> None:
    ids, mask = text_encoder().tokenize(["no pneumonia", "normal"])
    assert ids.shape == mask.shape == (2, 4)
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert ids[1, 3] == 0
    assert text_encoder(max_tokens=5).tokenize(["no " * 50])[0].shape == (1, 5)


def test_padding_does_not_change_an_embedding() -> None:
    encoder = text_encoder()
    together = encoder.embed(["normal", "no evidence of pleural effusion in the chest"])
    np.testing.assert_allclose(together[:1], encoder.embed(["normal"]), atol=1e-6)


def test_more_texts_than_a_batch_keep_their_order() -> None:
    encoder = text_encoder()
    texts = ["normal", "pneumonia", "no effusion"] * MAX_TEXTS
    many = encoder.embed(texts)
    np.testing.assert_allclose(many[:3], many[-3:], atol=1e-6)
    assert len(many) == len(texts)


def test_lower_casing_is_done_where_the_bundle_says_so() -> None:
    ids = [text_encoder(lowercase=flag).tokenize(["PNEUMONIA"])[0].tolist() for flag in (True, False)]
    # This tokenizer lower-cases by itself, so both must agree with plain lower case.
    assert ids[0] == ids[1] == text_encoder().tokenize(["pneumonia"])[0].tolist()


def test_no_text_is_an_error() -> None:
    with pytest.raises(InferenceError, match="No text"):
        text_encoder().embed([])
