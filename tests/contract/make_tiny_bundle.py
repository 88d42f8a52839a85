"""Makes `tests/contract/bundle_v1_tiny`: random encoders of all five modalities in a few kilobytes.

It was run once and its result is frozen: every later reader must load that very copy, so this script is
kept to show how it came about, not to be run again. Its encoders know nothing of medicine; what they say
is only reproducible. Needs the `train` extra (onnx).

    python tests/contract/make_tiny_bundle.py FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

D = 16
SEED = 20261122
IMAGE, PATCH, CHANNELS = 32, 8, 8
ECG_RATE, ECG_SECONDS, ECG_PATCH = 100, 10, 50
MAX_TOKENS = 16

IMAGE_TAIL = [
    {"op": "normalise", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    {"op": "channels_first"},
]
GREY = [
    {"op": "resize", "size": [IMAGE, IMAGE], "mode": "pad", "fill": 0.0},
    {"op": "grey_to_rgb"},
    *IMAGE_TAIL,
]
COLOUR = [{"op": "resize", "size": [IMAGE, IMAGE], "mode": "pad", "fill": 0.0}, *IMAGE_TAIL]

ENCODERS = {
    "xray": ("radiograph", {}, [{"op": "percentile_stretch", "low": 1.0, "high": 99.0}, *GREY]),
    "ct": ("ct", {"slices": 5}, [{"op": "window", "center": -600.0, "width": 1500.0}, *GREY]),
    "retina": ("retina", {}, [{"op": "crop_field", "threshold": 0.05}, *COLOUR]),
    "ecg": (
        "ecg",
        {"seconds": ECG_SECONDS},
        [
            {"op": "resample", "rate": ECG_RATE},
            {"op": "fit_length", "seconds": ECG_SECONDS},
            {"op": "highpass", "cutoff": 0.5},
            {"op": "scale", "factor": 1.0},
            {"op": "clip", "limit": 5.0},
        ],
    ),
    "pathology": ("slide", {"microns_per_pixel": 1.0, "tile": 224, "tiles": 6}, COLOUR),
}
# Wide: random encoders accept nearly everything. A test of refusal writes a smaller number and seals again.
SCOPE_THRESHOLD = 1000.0
POOLING = {"ct": {"method": "top", "fraction": 0.4}, "pathology": {"method": "mean"}}

# id, name, SNOMED CT code and its preferred term, group, (slope, intercept, threshold, unsure_from).
# The intercepts make sure that every presence occurs whatever the random encoders say: with a margin
# within -2 to 2 the first of each modality is always present and the second always absent.
PRESENT, ABSENT, EITHER = (1.0, 4.0, 0.5, None), (1.0, -4.0, 0.5, 0.4), (8.0, 0.0, 0.6, 0.4)
FINDINGS = [
    ("xray.pneumonia", "Pneumonia", "233604007", "Pneumonia", None, PRESENT),
    ("xray.effusion", "Pleural effusion", "60046008", "Pleural effusion", None, ABSENT),
    ("xray.cardiomegaly", "Cardiomegaly", "8186001", "Cardiomegaly", None, EITHER),
    (
        "ct.malignancy",
        "Malignant neoplasm of lung",
        "363358000",
        "Malignant tumor of lung",
        "ct.nodule",
        PRESENT,
    ),
    ("ct.benign_nodule", "Benign nodule of lung", "92056009", "Benign neoplasm of lung", "ct.nodule", EITHER),
    ("retina.retinopathy", "Diabetic retinopathy", "4855003", "Diabetic retinopathy", None, PRESENT),
    (
        "retina.oedema",
        "Diabetic macular oedema",
        "312912001",
        "Macular edema due to diabetes mellitus",
        None,
        ABSENT,
    ),
    ("ecg.atrial_fibrillation", "Atrial fibrillation", "49436004", "Atrial fibrillation", None, PRESENT),
    ("ecg.lbbb", "Left bundle branch block", "63467002", "Left bundle branch block", None, ABSENT),
    ("pathology.adenocarcinoma", "Adenocarcinoma", "35917007", "Adenocarcinoma", "pathology.kind", PRESENT),
    (
        "pathology.squamous",
        "Squamous cell carcinoma",
        "28899001",
        "Squamous cell carcinoma",
        "pathology.kind",
        EITHER,
    ),
]


def smooth_noise(rng: np.random.Generator, channels: int, spatial: tuple[int, ...]) -> np.ndarray:
    """(64, channels, *spatial) float32: blobs of random brightness, grey as in a radiograph, -2 to 2; random
    walks for a waveform."""
    if len(spatial) == 1:
        walk = rng.standard_normal((64, channels, *spatial)).cumsum(axis=2) / 30
        return (walk - walk.mean(axis=2, keepdims=True)).astype(np.float32)
    coarse = rng.uniform(-2, 2, size=(64, 1, 8, 8))
    return np.kron(coarse, np.ones((1, channels, spatial[0] // 8, spatial[1] // 8))).astype(np.float32)


def constant(name: str, values: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(values, name)


def seal_model(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="make_tiny_bundle"
    )
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def image_like(
    rng: np.random.Generator, spatial: tuple[int, ...], patch: tuple[int, ...], channels: int
) -> bytes:
    """One strided convolution, ReLU, a projection to D: `evidence` (N, h, w, D); its mean, normalised, is
    `embedding` (N, D). `spatial` of length 1 is a waveform, whose h is 1."""
    fan_in = channels * int(np.prod(patch))
    first = (rng.standard_normal((CHANNELS, channels, *patch)) / np.sqrt(fan_in)).astype(np.float32)
    second = (rng.standard_normal((CHANNELS, D)) / np.sqrt(CHANNELS)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["c"], strides=list(patch), kernel_shape=list(patch)),
        helper.make_node("Relu", ["c"], ["r"]),
    ]
    constants = [
        constant("w1", first),
        constant("b1", rng.standard_normal(CHANNELS).astype(np.float32) * 0.1),
        constant("w2", second),
    ]
    if len(spatial) == 1:
        nodes += [helper.make_node("Unsqueeze", ["r", "axis2"], ["map"])]
        constants += [constant("axis2", np.array([2], dtype=np.int64))]
    else:
        nodes += [helper.make_node("Identity", ["r"], ["map"])]
    nodes += [
        helper.make_node("Transpose", ["map"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["last", "w2"], ["evidence"]),
        helper.make_node("ReduceMean", ["evidence"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], ["embedding"], axis=1, p=2),
    ]
    cells = [s // p for s, p in zip(spatial, patch, strict=True)]
    grid = [1, *cells] if len(cells) == 1 else cells
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", channels, *spatial])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", D]),
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["N", *grid, D]),
        ],
        constants,
    )
    return seal_model(graph)


def text_model(rng: np.random.Generator, words: int) -> bytes:
    """Word vectors, masked mean, normalised."""
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axis"], ["mask3"]),
        helper.make_node("Mul", ["tokens", "mask3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis1"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny_text",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "L"]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["N", "L"]),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", D])],
        [
            constant("words", rng.standard_normal((words, D)).astype(np.float32)),
            constant("axis", np.array([2], dtype=np.int64)),
            constant("axis1", np.array([1], dtype=np.int64)),
        ],
    )
    return seal_model(graph)


def tokenizer() -> Tokenizer:
    words = "a an the of no without with normal evidence sign image chest radiograph ct fundus photograph ecg"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words.split()]
    for _, name, *_ in FINDINGS:
        vocabulary += [w for w in name.lower().split() if w not in vocabulary]
    vocabulary += [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in vocabulary]
    vocabulary += ["##" + letter for letter in "abcdefghijklmnopqrstuvwxyz"]
    table = {word: index for index, word in enumerate(vocabulary)}
    made = Tokenizer(models.WordPiece(table, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", table["[SEP]"]), ("[CLS]", table["[CLS]"]))
    return made


def findings() -> dict[str, object]:
    entries = []
    for identifier, name, code, meaning, group, (slope, intercept, threshold, unsure) in FINDINGS:
        entries.append(
            {
                "id": identifier,
                "modality": identifier.split(".")[0],
                "name": name,
                "code": {"value": code, "scheme": "SCT", "meaning": meaning},
                "prompts": {
                    "affirmed": [name.lower(), f"evidence of {name.lower()}"],
                    "negated": [f"no {name.lower()}", "normal"],
                },
                "group": group,
                "calibration": {"method": "platt", "slope": slope, "intercept": intercept},
                "threshold": threshold,
                "unsure_from": unsure,
            }
        )
    return {"findings": entries}


def scope(embeddings: np.ndarray, threshold: float) -> dict[str, object]:
    """Statistics of the encoder's answers to noise. `threshold` is wide: nearly all input is in scope."""
    mean = embeddings.mean(axis=0)
    _, singular, components = np.linalg.svd(embeddings - mean, full_matrices=False)
    variances = np.maximum(singular**2 / len(embeddings), 1e-4)
    return {
        "method": "mahalanobis",
        "mean": mean.round(6).tolist(),
        "components": components[:4].round(6).tolist(),
        "variances": variances[:4].round(8).tolist(),
        "residual_variance": float(variances[4:].sum().round(8)),
        "threshold": threshold,
    }


def main(folder: Path) -> None:
    rng = np.random.default_rng(SEED)
    (folder / "encoders").mkdir(parents=True, exist_ok=True)
    manifest_encoders, sealed, scopes = {}, {}, {}
    for modality, (reader, sampling, operations) in ENCODERS.items():
        waveform = reader == "ecg"
        spatial = (ECG_RATE * ECG_SECONDS,) if waveform else (IMAGE, IMAGE)
        patch = (ECG_PATCH,) if waveform else (PATCH, PATCH)
        channels = 12 if waveform else 3
        file = f"encoders/{modality}.onnx"
        (folder / file).write_bytes(image_like(rng, spatial, patch, channels))
        session = onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
        noise = smooth_noise(rng, channels, spatial)
        (embeddings,) = session.run(["embedding"], {"input": noise})
        sealed |= {f"{modality}.input": noise[:2], f"{modality}.embedding": embeddings[:2]}
        scopes[modality] = scope(embeddings, SCOPE_THRESHOLD)
        manifest_encoders[modality] = {
            "file": file,
            "reader": reader,
            "sampling": sampling,
            "preprocess": operations,
            "input_shape": [channels, *spatial],
            "evidence": True,
            "pooling": POOLING.get(modality, {"method": "mean"}),
        }
    made = tokenizer()
    made.save(str(folder / "tokenizer.json"))
    (folder / "text.onnx").write_bytes(text_model(rng, made.get_vocab_size()))
    strings = ["pneumonia", "no pneumonia", "a normal ecg"]
    made.enable_truncation(MAX_TOKENS)
    made.enable_padding(pad_id=0, pad_token="[PAD]")
    encoded = made.encode_batch(strings)
    ids = np.array([e.ids for e in encoded], dtype=np.int64)
    mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
    text = onnxruntime.InferenceSession(folder / "text.onnx", providers=["CPUExecutionProvider"])
    (embedded,) = text.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
    sealed |= {"text.input_ids": ids, "text.attention_mask": mask, "text.embedding": embedded}
    np.savez(folder / "selftest.npz", allow_pickle=False, **sealed, **{"text.strings": np.array(strings)})
    (folder / "findings.json").write_text(json.dumps(findings(), indent=1) + "\n")
    (folder / "scope.json").write_text(json.dumps({"modalities": scopes}, indent=None) + "\n")
    (folder / "MODEL_CARD.md").write_text(
        "# tiny\n\nRandom encoders for the tests of the bundle format. Not a medical device.\n"
    )
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "bundle.json")
    manifest = {
        "format": 1,
        "name": "tiny",
        "version": "1.0.0",
        "description": "Random encoders for tests",
        "dimension": D,
        "files": {
            p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
        },
        "encoders": manifest_encoders,
        "text": {
            "file": "text.onnx",
            "tokenizer": "tokenizer.json",
            "max_tokens": MAX_TOKENS,
            "lowercase": False,
        },
        "provenance": {
            "created": "2026-11-22T00:00:00Z",
            "commit": "none",
            "data": ["none: random numbers, CC0"],
        },
    }
    (folder / "bundle.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
