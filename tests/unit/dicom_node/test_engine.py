from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from dicom_node.engine import Engine
from dicom_node.errors import BundleFormatError, BundleSelfTestError, ConfigError, InferenceError
from dicom_node.records import Sample, Skipped, SourceRef, Status, StudyRead, View
from tests.support.bundles import TINY, alter_json, copy_of, copy_tiny, reseal

SOURCE = SourceRef("1.2.840.10008.5.1.4.1.1.1", "1.2.3")
TINY_V2 = TINY.with_name("bundle_v2_tiny")


def load(bundle: Path = TINY, cache: Path | None = None) -> tuple[Engine, bool]:
    """The engine, and whether its self-test was run."""
    with capture_logs() as logs:
        engine = Engine.load(bundle, providers=["cpu"], threads=1, cache_dir=cache)
    told = next(entry for entry in logs if entry["event"] == "engine_loaded")
    assert told["providers"] == ("CPUExecutionProvider",)
    return engine, bool(told["self_tested"])


def sample(modality: str = "xray") -> View:
    shape = (12, 1000) if modality == "ecg" else (3, 32, 32)
    values = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return View(modality, "1.2", (Sample(values, SOURCE),), (SOURCE,))


def test_tells_what_it_is() -> None:
    engine, _ = load()
    assert (engine.identity.name, engine.identity.version) == ("tiny", "1.0.0")
    assert engine.encoders["ecg"].reader == "ecg"
    assert engine.bundle.manifest.dimension == 16
    with pytest.raises(TypeError):
        engine.encoders["new"] = engine.encoders["ecg"]  # type: ignore[index]


def test_a_study_with_parts_and_their_seconds() -> None:
    engine, _ = load()
    skipped = (Skipped("1.5", "not-dicom", "It is not DICOM."),)
    made = engine.assess("1.9", StudyRead((sample("xray"), sample("ecg")), skipped))
    assert made.status is Status.REPORTED
    assert made.bundle == engine.identity
    assert made.skipped == skipped
    assert {f.modality for f in made.findings} == {"xray", "ecg"}
    assert set(made.seconds) == {"encode", "assess"}
    assert all(value > 0 for value in made.seconds.values())


def test_the_same_study_is_judged_the_same_again() -> None:
    engine, _ = load()
    read = StudyRead((sample("ct"),), ())
    first, second = engine.assess("1.9", read), engine.assess("1.9", read)
    assert first.findings == second.findings


def test_a_modality_without_an_encoder_is_an_error() -> None:
    engine, _ = load()
    with pytest.raises(InferenceError, match="no encoder for modality mri"):
        engine.encode(View("mri", "1.2", sample().samples, (SOURCE,)))


def test_a_warm_load_skips_the_self_test_and_answers_the_same(tmp_path: Path) -> None:
    cold, tested = load(cache=tmp_path)
    assert tested
    warm, tested = load(cache=tmp_path)
    assert not tested
    read = StudyRead((sample(),), ())
    assert [f.margin for f in warm.assess("1.9", read).findings] == pytest.approx(
        [f.margin for f in cold.assess("1.9", read).findings], abs=1e-6
    )
    np.testing.assert_allclose(warm.embed_texts(["normal"]), cold.embed_texts(["normal"]), atol=1e-6)


def test_without_a_cache_every_load_tests() -> None:
    assert load()[1]
    assert load()[1]


def test_a_failed_self_test_leaves_no_marker(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    (bundle / "encoders/xray.onnx").write_bytes((bundle / "encoders/ct.onnx").read_bytes())
    reseal(bundle)
    for _ in range(2):
        with pytest.raises(BundleSelfTestError):
            Engine.load(bundle, providers=["cpu"], threads=1, cache_dir=tmp_path / "cache")


def test_cached_anchors_that_do_not_fit_are_made_again(tmp_path: Path) -> None:
    engine, _ = load(cache=tmp_path)
    path = tmp_path / f"anchors-{engine.identity.digest}.npz"
    np.savez(path, ids=np.array(["other"]), affirmed=np.eye(1), negated=np.eye(1))
    again, _ = load(cache=tmp_path)
    read = StudyRead((sample(),), ())
    assert [f.margin for f in again.assess("1.9", read).findings] == pytest.approx(
        [f.margin for f in engine.assess("1.9", read).findings], abs=1e-6
    )


def test_out_of_scope_is_an_answer(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    alter_json(bundle / "scope.json", lambda c: c["modalities"]["xray"].update(threshold=0.001))
    engine, _ = load(reseal(bundle))
    made = engine.assess("1.9", StudyRead((sample(),), ()))
    assert made.status is Status.OUT_OF_SCOPE
    assert made.findings == ()


def test_a_scope_about_numbers_that_the_encoder_does_not_give_is_refused_at_load(tmp_path: Path) -> None:
    """Not at every study: a graph without the signature, and one of another width."""
    without = copy_tiny(tmp_path / "without")
    alter_json(without / "bundle.json", lambda c: c.update(format=2))
    alter_json(without / "scope.json", lambda c: c["modalities"]["ct"].update(on="signature"))
    with pytest.raises(BundleFormatError, match=r"Scope of ct: .* by 16 numbers .* gives none"):
        Engine.load(reseal(without), providers=["cpu"], threads=1)
    wider = copy_of(TINY_V2, tmp_path / "wider")
    alter_json(wider / "scope.json", lambda c: c["modalities"]["xray"]["likeness"]["kinds"].append("a kite"))
    with pytest.raises(BundleFormatError, match=r"Scope of xray: .* Export the bundle again"):
        Engine.load(reseal(wider), providers=["cpu"], threads=1)


def test_a_bundle_without_findings_still_makes_vectors(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    alter_json(bundle / "findings.json", lambda c: c.update(findings=[]))
    engine, _ = load(reseal(bundle))
    made = engine.assess("1.9", StudyRead((sample(),), ()))
    assert made.status is Status.REPORTED
    assert made.findings == ()
    assert np.linalg.norm(made.views[0].embedding) == pytest.approx(1, abs=1e-5)


def test_an_unknown_provider_is_a_setting_to_correct() -> None:
    with pytest.raises(ConfigError, match="npu"):
        Engine.load(TINY, providers=["npu"])


def test_only_what_is_chosen_is_said(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    weak = {"enabled": False, "disabled_because": "it is weak"}
    alter_json(bundle / "findings.json", lambda c: c["findings"][0].update(weak))
    alter_json(bundle / "bundle.json", lambda c: c.update(format=2))
    reseal(bundle)
    engine, _ = load(bundle)
    assert "xray.pneumonia" in {entry.id for entry in engine.bundle.findings}
    study = StudyRead((sample(),), ())
    assert [f.id for f in engine.assess("1.9", study).findings] == ["xray.effusion", "xray.cardiomegaly"]
    asked = Engine.load(
        bundle, providers=["cpu"], threads=1, enable=["xray.pneumonia"], disable=["xray.effusion"]
    )
    assert [f.id for f in asked.assess("1.9", study).findings] == ["xray.pneumonia", "xray.cardiomegaly"]
    with pytest.raises(ConfigError, match=r"findings\.enable: .* 'xray\.gout'"):
        Engine.load(bundle, providers=["cpu"], threads=1, enable=["xray.gout"])
