import json
from pathlib import Path

import onnxruntime
import pytest
from structlog.testing import capture_logs

from dicom_node.bundle.store import open_bundle
from dicom_node.engine import Engine, _with_engines
from dicom_node.errors import ConfigError
from dicom_node.inference.batching import MAX_BATCH
from dicom_node.inference.tensorrt import (
    BATCHES,
    CACHE_FILE,
    TENSORRT,
    check_engines,
    describe_engines,
    encoder_digests,
    engine_files,
    engine_options,
    machine,
    profile_options,
)
from tests.support.bundles import TINY, alter_json, copy_tiny, reseal

CPU = "CPUExecutionProvider"
ENCODERS = {"xray": "a" * 64, "ct": "b" * 64}
HERE = {
    "gpu": "NVIDIA A10 (compute capability 8.6)",
    "driver": "570.86.15",
    "tensorrt": "101000",
    "onnxruntime": "1.31.1",
}
THERE = {"gpu": "NVIDIA H100 (compute capability 9.0)", "driver": "580.1", "tensorrt": "101400"}


def engines(folder: Path, encoders: dict[str, str] = ENCODERS, there: dict[str, str] = HERE) -> Path:
    (folder / CACHE_FILE).write_text(describe_engines(encoders, there, {"xray": 0.9999}))
    return folder


def engines_of_tiny(folder: Path) -> Path:
    return engines(folder, encoder_digests(open_bundle(TINY).manifest), machine(onnxruntime.__version__))


def smi(folder: Path, script: str) -> str:
    """A program that answers as nvidia-smi does."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_engines_of_these_encoders_and_this_machine_are_taken(tmp_path: Path) -> None:
    check_engines(engines(tmp_path), ENCODERS, HERE)
    check_engines(tmp_path, {"xray": ENCODERS["xray"]}, HERE)  # more engines than are asked for


@pytest.mark.parametrize("key", [*THERE, "onnxruntime"])
def test_engines_of_another_machine_are_refused_with_what_differs(tmp_path: Path, key: str) -> None:
    theirs = THERE.get(key, "1.20.0")
    engines(tmp_path, there={**HERE, key: theirs})
    with pytest.raises(ConfigError) as refused:
        check_engines(tmp_path, ENCODERS, HERE)
    assert f"built for {key} {theirs} (here: {HERE[key]})." in str(refused.value)
    assert "m3bind-export tensorrt BUNDLE --out" in str(refused.value)


def test_engines_of_another_encoder_are_refused(tmp_path: Path) -> None:
    engines(tmp_path)
    with pytest.raises(ConfigError, match=r"another encoder of ct\. Build them"):
        check_engines(tmp_path, {**ENCODERS, "ct": "c" * 64}, HERE)
    with pytest.raises(ConfigError, match="another encoder of ecg"):
        check_engines(tmp_path, {**ENCODERS, "ecg": "c" * 64}, HERE)


def test_a_folder_without_engines_and_a_broken_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no engines"):
        check_engines(tmp_path / "none", ENCODERS, HERE)
    for broken in ("{", "{}", "[]", json.dumps({"bundle": "abc", "onnxruntime": "1.31.1"})):
        (tmp_path / CACHE_FILE).write_text(broken)
        with pytest.raises(ConfigError, match="is broken"):
            check_engines(tmp_path, ENCODERS, HERE)


def test_an_encoder_is_its_graph_and_its_weights_and_not_the_rest_of_the_bundle(tmp_path: Path) -> None:
    before = encoder_digests(open_bundle(TINY).manifest)
    bundle = copy_tiny(tmp_path / "bundle")
    (bundle / "MODEL_CARD.md").write_text("Another card.")
    assert encoder_digests(open_bundle(reseal(bundle)).manifest) == before
    (bundle / "encoders" / "xray.onnx.weights").write_bytes(b"weights")
    alter_json(
        bundle / "bundle.json",
        lambda told: told["encoders"]["xray"].update(weights=["encoders/xray.onnx.weights"]),
    )
    after = encoder_digests(open_bundle(reseal(bundle)).manifest)
    assert {name for name in before if before[name] != after[name]} == {"xray"}


def test_what_an_engine_depends_on_is_asked_of_the_machine(tmp_path: Path) -> None:
    rows = "NVIDIA A10, 8.6, 570.86.15\\nNVIDIA A10, 8.6, 570.86.15\\n"
    asked = smi(tmp_path, f'printf "{rows}"; echo "$@" > {tmp_path}/asked')
    told = machine("1.31.1", asked)
    assert (told["gpu"], told["driver"], told["onnxruntime"]) == (HERE["gpu"], HERE["driver"], "1.31.1")
    assert "--query-gpu=name,compute_cap,driver_version" in (tmp_path / "asked").read_text()
    mixed = machine("1", smi(tmp_path, 'printf "B, 9.0, 1\\nA, 8.6, 1\\n"'))
    assert mixed["gpu"] == "A (compute capability 8.6); B (compute capability 9.0)"
    for absent in (str(tmp_path / "nothing"), smi(tmp_path, "echo no devices were found; exit 6")):
        assert machine("1", absent)["gpu"] == machine("1", absent)["driver"] == "none"


def test_without_engines_it_is_passed_over_and_said(tmp_path: Path) -> None:
    bundle = open_bundle(TINY)
    with capture_logs() as logs:
        assert _with_engines((TENSORRT, CPU), bundle, None) == (CPU,)
    assert [entry["event"] for entry in logs] == ["tensorrt_passed_over"]
    assert _with_engines((TENSORRT, CPU), bundle, engines_of_tiny(tmp_path)) == (TENSORRT, CPU)
    assert _with_engines((CPU,), bundle, None) == (CPU,)
    with pytest.raises(ConfigError, match=r"another encoder of .*; gpu NVIDIA A10"):
        _with_engines((TENSORRT, CPU), bundle, engines(tmp_path))


def test_where_the_provider_is_missing_engines_change_nothing(tmp_path: Path) -> None:
    folder = engines_of_tiny(tmp_path)
    engine = Engine.load(TINY, providers=["tensorrt", "cpu"], threads=1, tensorrt_engines=folder)
    assert engine.providers[-1] == CPU


def test_options_are_strings_and_cover_the_batches_of_the_node(tmp_path: Path) -> None:
    told = engine_options(tmp_path) | profile_options("input", (3, 224, 224), BATCHES)
    assert all(isinstance(value, str) for value in told.values())
    assert told["trt_engine_cache_path"] == told["trt_timing_cache_path"] == str(tmp_path)
    assert told["trt_profile_max_shapes"] == f"input:{MAX_BATCH}x3x224x224"
    assert told["trt_fp16_enable"] == "1"


def test_engines_are_found_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a_sm90.engine").touch()
    (tmp_path / "a.timing").touch()
    assert engine_files(tmp_path) == {"deep/a_sm90.engine"}
