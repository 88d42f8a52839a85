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
    engine_files,
    engine_options,
    profile_options,
)
from tests.support.bundles import TINY

CPU = "CPUExecutionProvider"


def engines(folder: Path, bundle: str, version: str = onnxruntime.__version__) -> Path:
    (folder / CACHE_FILE).write_text(json.dumps({"bundle": bundle, "onnxruntime": version}))
    return folder


def test_engines_are_of_one_bundle_and_one_runtime(tmp_path: Path) -> None:
    check_engines(engines(tmp_path, "abc"), "abc", onnxruntime.__version__)
    with pytest.raises(ConfigError, match=r"of bundle abc, here is def.*m3bind-export tensorrt"):
        check_engines(tmp_path, "def", onnxruntime.__version__)
    with pytest.raises(ConfigError, match=r"of onnxruntime .*, here is 9\.9"):
        check_engines(tmp_path, "abc", "9.9")
    with pytest.raises(ConfigError, match="holds no engines"):
        check_engines(tmp_path / "none", "abc", "9.9")
    (tmp_path / CACHE_FILE).write_text("{")
    with pytest.raises(ConfigError, match="is broken"):
        check_engines(tmp_path, "abc", "9.9")


def test_without_engines_it_is_passed_over_and_said(tmp_path: Path) -> None:
    bundle = open_bundle(TINY)
    with capture_logs() as logs:
        assert _with_engines((TENSORRT, CPU), bundle, None) == (CPU,)
    assert [entry["event"] for entry in logs] == ["tensorrt_passed_over"]
    assert _with_engines((TENSORRT, CPU), bundle, engines(tmp_path, bundle.identity.digest)) == (
        TENSORRT,
        CPU,
    )
    assert _with_engines((CPU,), bundle, None) == (CPU,)
    with pytest.raises(ConfigError, match="of bundle"):
        _with_engines((TENSORRT, CPU), bundle, engines(tmp_path, "other"))


def test_where_the_provider_is_missing_engines_change_nothing(tmp_path: Path) -> None:
    folder = engines(tmp_path, open_bundle(TINY).identity.digest)
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
