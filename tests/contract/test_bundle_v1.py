"""Every reader of bundles, now and later, must load the frozen tiny v1 bundle, answer as it was sealed, and
refuse every way of tampering with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node.bundle.store import open_bundle
from dicom_node.engine import Engine
from dicom_node.errors import BundleError, BundleFormatError, BundleIntegrityError, BundleSelfTestError
from dicom_node.records import Presence, Sample, SourceRef, Status, StudyRead, View
from tests.support.bundles import TINY, alter_json, copy_tiny, reseal

FROZEN_DIGEST = "f1e002f4c183797206ec83ed3d8e82074d8eaf395a4b24199863d02a866a3562"
FROZEN_MARGINS = {"xray.pneumonia": -0.17351, "xray.effusion": -0.19296, "ecg.atrial_fibrillation": 0.02989}
"""Of the first sealed input of each modality."""


def test_the_frozen_bundle_is_the_frozen_one() -> None:
    assert hashlib.sha256((TINY / "bundle.json").read_bytes()).hexdigest() == FROZEN_DIGEST
    assert open_bundle(TINY).identity.digest == FROZEN_DIGEST


def test_every_part_is_read() -> None:
    bundle = open_bundle(TINY)
    assert sorted(bundle.manifest.encoders) == ["ct", "ecg", "pathology", "retina", "xray"]
    assert len(bundle.findings) == 11
    assert [f.id for f in bundle.findings_of("ecg")] == ["ecg.atrial_fibrillation", "ecg.lbbb"]
    assert bundle.manifest.encoders["ct"].pooling.fraction == 0.4
    assert bundle.scope["xray"].threshold == 1000.0


def test_loads_and_answers_as_sealed() -> None:
    engine = Engine.load(TINY, providers=["cpu"], threads=1)
    assert engine.providers == ("CPUExecutionProvider",)
    sealed = np.load(TINY / "selftest.npz", allow_pickle=False)
    source = SourceRef("1.2.840.10008.5.1.4.1.1.1", "1.2.3")
    for modality in engine.encoders:
        samples = tuple(Sample(values, source) for values in sealed[f"{modality}.input"])
        vectors = engine.encode(View(modality, "1.2", samples, (source,)))
        np.testing.assert_allclose(vectors.embeddings, sealed[f"{modality}.embedding"], atol=1e-5)
        assert vectors.evidence is not None
        mean = vectors.evidence.mean(axis=(1, 2))
        np.testing.assert_allclose(
            mean / np.linalg.norm(mean, axis=1, keepdims=True), vectors.embeddings, atol=1e-5
        )
    texts = engine.embed_texts([str(text) for text in sealed["text.strings"]])
    np.testing.assert_allclose(texts, sealed["text.embedding"], atol=1e-5)


def test_says_what_it_said_when_it_was_frozen() -> None:
    engine = Engine.load(TINY, providers=["cpu"], threads=1)
    sealed = np.load(TINY / "selftest.npz", allow_pickle=False)
    source = SourceRef("1.2.840.10008.5.1.4.1.1.1", "1.2.3")
    views = tuple(
        View(modality, f"1.{index}", (Sample(sealed[f"{modality}.input"][0], source),), (source,))
        for index, modality in enumerate(("xray", "ecg"))
    )
    assessment = engine.assess("1.2.9", StudyRead(views, ()))
    assert assessment.status is Status.REPORTED
    margins = {finding.id: finding.margin for finding in assessment.findings}
    for finding, margin in FROZEN_MARGINS.items():
        assert margins[finding] == pytest.approx(margin, abs=1e-4)
    presences = {finding.id: finding.presence for finding in assessment.findings}
    assert presences["xray.pneumonia"] is Presence.PRESENT
    assert presences["xray.effusion"] is Presence.ABSENT


def in_manifest(change: Callable[[Any], None]) -> Callable[[Path], None]:
    return lambda bundle: alter_json(bundle / "bundle.json", change)


def in_part(name: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def tamper(bundle: Path) -> None:
        alter_json(bundle / name, change)
        reseal(bundle)

    return tamper


def put(path: str, value: object) -> Callable[[Any], None]:
    """Set the item at dotted `path` to `value`."""

    def change(content: Any) -> None:
        *way, last = [int(step) if step.isdigit() else step for step in path.split("/")]
        for step in way:
            content = content[step]
        content[last] = value

    return change


def drop(path: str) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        *way, last = path.split("/")
        for step in way:
            content = content[step]
        del content[last]

    return change


def flip_byte(name: str) -> Callable[[Path], None]:
    def tamper(bundle: Path) -> None:
        raw = bytearray((bundle / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (bundle / name).write_bytes(raw)

    return tamper


def remove(name: str) -> Callable[[Path], None]:
    return lambda bundle: (bundle / name).unlink()


def link_outside(bundle: Path) -> None:
    outside = bundle.parent / "outside.onnx"
    outside.write_bytes((bundle / "text.onnx").read_bytes())
    (bundle / "text.onnx").unlink()
    (bundle / "text.onnx").symlink_to(outside)


def name_outside(name: str) -> Callable[[Path], None]:
    def change(manifest: Any) -> None:
        manifest["files"][name] = "0" * 64

    return lambda bundle: alter_json(bundle / "bundle.json", change)


def add(name: str) -> Callable[[Path], None]:
    return lambda bundle: (bundle / name).write_bytes(b"weights")


def add_folder(bundle: Path) -> None:
    (bundle / "more").mkdir()


def link_a_folder(bundle: Path) -> None:
    (bundle / "encoders").rename(bundle.parent / "elsewhere")
    (bundle / "encoders").symlink_to(bundle.parent / "elsewhere")


def twice(content: Any) -> None:
    content["findings"].append(content["findings"][0])


REFUSED: dict[str, tuple[Callable[[Path], None], type[BundleError], str]] = {
    "encoder altered": (flip_byte("encoders/xray.onnx"), BundleIntegrityError, r"encoders/xray\.onnx is not"),
    "text altered": (flip_byte("text.onnx"), BundleIntegrityError, r"text\.onnx is not the file"),
    "tokenizer altered": (flip_byte("tokenizer.json"), BundleIntegrityError, "tokenizer.json"),
    "findings altered": (flip_byte("findings.json"), BundleIntegrityError, "findings.json"),
    "scope altered": (flip_byte("scope.json"), BundleIntegrityError, "scope.json"),
    "selftest altered": (flip_byte("selftest.npz"), BundleIntegrityError, "selftest.npz"),
    "card altered": (flip_byte("MODEL_CARD.md"), BundleIntegrityError, "MODEL_CARD.md"),
    "file missing": (remove("encoders/ct.onnx"), BundleIntegrityError, "encoders/ct.onnx is missing"),
    "no manifest": (remove("bundle.json"), BundleFormatError, "holds no bundle.json"),
    "manifest not JSON": (
        lambda b: (b / "bundle.json").write_text("{"),
        BundleFormatError,
        "bundle.json is not",
    ),
    "later format": (
        in_manifest(put("format", 3)),
        BundleFormatError,
        "format 3; this version reads format 1 and 2",
    ),
    "disabled without a reason": (
        in_part("findings.json", put("findings/0/enabled", False)),
        BundleFormatError,
        "xray.pneumonia needs `disabled_because`",
    ),
    "calibration that stands still": (
        in_part(
            "findings.json",
            put(
                "findings/0/calibration",
                {"method": "monotone", "slope": 1, "intercept": 0, "knots": [[0, 0], [1, 2], [2, 2]]},
            ),
        ),
        BundleFormatError,
        "xray.pneumonia: the knots of its calibration must rise",
    ),
    "knots that nobody follows": (
        in_part("findings.json", put("findings/0/calibration/knots", [[0, 0], [1, 1]])),
        BundleFormatError,
        "two knots or more if it is monotone",
    ),
    "weights elsewhere": (
        in_manifest(put("encoders/xray/weights", ["text.onnx"])),
        BundleFormatError,
        "text.onnx must lie beside encoders/xray.onnx",
    ),
    "weights not proven": (
        in_manifest(put("text/weights", ["text.onnx.data"])),
        BundleFormatError,
        "text.onnx.data but lists no sha256",
    ),
    "unknown key": (in_manifest(put("formta", 1)), BundleFormatError, "formta"),
    "key missing": (in_manifest(drop("dimension")), BundleFormatError, "dimension"),
    "bad version": (in_manifest(put("version", "one")), BundleFormatError, "version"),
    "unlisted": (in_manifest(drop("files/text.onnx")), BundleFormatError, "lists no sha256"),
    "parent path": (name_outside("../passwd"), BundleFormatError, "leaves the bundle"),
    "absolute path": (name_outside("/etc/passwd"), BundleFormatError, "leaves the bundle"),
    "link outside": (link_outside, BundleFormatError, "link that leaves"),
    "not sealed": (add("encoders/w.bin"), BundleIntegrityError, r"encoders/w\.bin lies in .* not among"),
    "not sealed, hidden": (add(".w"), BundleIntegrityError, r"^\.w lies in"),
    "folder not sealed": (add_folder, BundleIntegrityError, "more lies in"),
    "folder linked": (link_a_folder, BundleFormatError, "link that leaves"),
    "no encoder": (in_manifest(put("encoders", {})), BundleFormatError, "no encoder"),
    "shape": (in_manifest(put("encoders/xray/input_shape", [3, 32])), BundleFormatError, "input_shape"),
    "unknown reader": (in_manifest(put("encoders/xray/reader", "mri")), BundleFormatError, "reader"),
    "operation": (
        in_manifest(put("encoders/xray/preprocess/0/op", "sharpen")),
        BundleFormatError,
        "Unknown operation 'sharpen'",
    ),
    "parameter": (
        in_manifest(put("encoders/xray/preprocess/0/low", 200)),
        BundleFormatError,
        "percentile_stretch",
    ),
    "finding twice": (
        in_part("findings.json", twice),
        BundleFormatError,
        "xray.pneumonia stands there twice",
    ),
    "finding without encoder": (
        in_part("findings.json", put("findings/0/modality", "mri")),
        BundleFormatError,
        "mri, which has no encoder",
    ),
    "falling calibration": (
        in_part("findings.json", put("findings/0/calibration/slope", -1.0)),
        BundleFormatError,
        "slope above 0",
    ),
    "unsure above threshold": (
        in_part("findings.json", put("findings/0/unsure_from", 0.9)),
        BundleFormatError,
        "above its threshold",
    ),
    "no prompts": (
        in_part("findings.json", put("findings/0/prompts/negated", [])),
        BundleFormatError,
        "negated",
    ),
    "scope without encoder": (
        in_part("scope.json", lambda c: c["modalities"].update(mri=c["modalities"]["ct"])),
        BundleFormatError,
        "mri has no encoder",
    ),
    "scope of other dimension": (
        in_part("scope.json", put("modalities/ct/mean", [0.0])),
        BundleFormatError,
        "must have 16 numbers",
    ),
    "scope without variance": (
        in_part("scope.json", put("modalities/ct/variances", [1.0])),
        BundleFormatError,
        "one variance",
    ),
}


@pytest.mark.parametrize("tampering", REFUSED)
def test_tampering_is_refused_with_its_reason(tampering: str, tmp_path: Path) -> None:
    tamper, kind, reason = REFUSED[tampering]
    bundle = copy_tiny(tmp_path / "bundle")
    tamper(bundle)
    with pytest.raises(kind, match=reason):
        Engine.load(bundle, providers=["cpu"], threads=1)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleFormatError, match="is not a folder"):
        open_bundle(tmp_path / "nothing")


def test_an_encoder_that_is_not_onnx_is_refused(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    (bundle / "encoders/xray.onnx").write_bytes(b"not a model")
    with pytest.raises(BundleFormatError, match=r"xray\.onnx cannot be loaded"):
        Engine.load(reseal(bundle), providers=["cpu"], threads=1)


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    (bundle / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleFormatError, match=r"tokenizer\.json is not a tokenizer"):
        Engine.load(reseal(bundle), providers=["cpu"], threads=1)


def test_an_exchanged_encoder_fails_the_self_test(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    (bundle / "encoders/xray.onnx").write_bytes((bundle / "encoders/ct.onnx").read_bytes())
    with pytest.raises(BundleSelfTestError, match="Self-test of xray: cosine"):
        Engine.load(reseal(bundle), providers=["cpu"], threads=1)


def test_another_tokenizer_fails_the_self_test(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")

    def swap(content: Any) -> None:
        words = content["model"]["vocab"]
        words["pneumonia"], words["normal"] = words["normal"], words["pneumonia"]

    alter_json(bundle / "tokenizer.json", swap)
    with pytest.raises(BundleSelfTestError, match="other tokens"):
        Engine.load(reseal(bundle), providers=["cpu"], threads=1)


@pytest.mark.parametrize("name", ["xray.input", "text.embedding"])
def test_an_incomplete_self_test_is_refused(name: str, tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    with np.load(TINY / "selftest.npz", allow_pickle=False) as sealed:
        kept = {key: sealed[key] for key in sealed.files if key != name}
    np.savez(bundle / "selftest.npz", allow_pickle=False, **kept)
    with pytest.raises(BundleFormatError, match=f"holds no {name}"):
        Engine.load(reseal(bundle), providers=["cpu"], threads=1)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"nothing of the kind"])
def test_a_damaged_self_test_is_refused(content: bytes, tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    (bundle / "selftest.npz").write_bytes(content)
    with pytest.raises(BundleFormatError, match="not an archive of plain arrays"):
        Engine.load(reseal(bundle), providers=["cpu"], threads=1)


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    np.savez(bundle / "selftest.npz", **{"xray.input": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(BundleFormatError, match="not an archive of plain arrays"):
        Engine.load(reseal(bundle), providers=["cpu"], threads=1)


def test_a_modality_this_project_does_not_know_is_served(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")

    def rename(manifest: Any) -> None:
        manifest["encoders"]["mammogram"] = manifest["encoders"].pop("xray")

    alter_json(bundle / "bundle.json", rename)
    alter_json(bundle / "scope.json", lambda c: c["modalities"].pop("xray"))
    alter_json(
        bundle / "findings.json",
        lambda c: c.update(findings=[f for f in c["findings"] if f["modality"] != "xray"]),
    )
    with np.load(TINY / "selftest.npz", allow_pickle=False) as sealed:
        renamed = {key.replace("xray.", "mammogram."): sealed[key] for key in sealed.files}
    np.savez(bundle / "selftest.npz", allow_pickle=False, **renamed)
    engine = Engine.load(reseal(bundle), providers=["cpu"], threads=1)
    assert "mammogram" in engine.encoders
    assert json.loads((bundle / "scope.json").read_text())["modalities"].keys() == {
        "ct",
        "retina",
        "ecg",
        "pathology",
    }
