import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")
import onnx

from dicom_node.bundle.store import open_bundle
from dicom_node.errors import ConfigError
from dicom_node.inference.onnx import OnnxRunner
from export.cli import main
from export.large import save_graph, weights_beside
from export.tensorrt import build_engines, require_provider
from export.triton import MAX_BATCH, VERSION, config_text, describe, write_repository
from tests.support.bundles import TINY, alter_json, copy_tiny, reseal

pytestmark = pytest.mark.train

PROVIDERS = ("TensorrtExecutionProvider", "CPUExecutionProvider")


def run(*arguments: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["m3bind-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_without_the_provider_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_provider(PROVIDERS)
    with pytest.raises(ConfigError, match="has no TensorrtExecutionProvider, only CPU"):
        require_provider(PROVIDERS[1:])
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: list(PROVIDERS[1:]))
    assert run("tensorrt", TINY, "--out", tmp_path / "engines", monkeypatch=monkeypatch) == 1
    assert "m3bind-pacs[gpu]" in capsys.readouterr().err
    assert not (tmp_path / "engines").exists()


def test_a_folder_with_something_in_it_is_never_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.md").touch()
    for write in (
        lambda: build_engines(open_bundle(TINY), tmp_path, print, PROVIDERS),
        lambda: write_repository(open_bundle(TINY), tmp_path),
    ):
        with pytest.raises(ConfigError, match="not an empty folder"):
            write()


def test_a_repository_holds_every_model_and_answers_as_the_bundle(tmp_path: Path) -> None:
    bundle = open_bundle(TINY)
    models = {model.name: model for model in write_repository(bundle, tmp_path / "repository")}
    assert set(models) == {*bundle.manifest.encoders, "text"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["repository"]
    for name, model in models.items():
        assert (tmp_path / "repository" / name / "config.pbtxt").read_text() == config_text(model)
        copied = OnnxRunner(tmp_path / "repository" / name / VERSION / "model.onnx", threads=1)
        if name == "text":
            continue
        given = {"input": np.ones((2, *bundle.manifest.encoders[name].input_shape), np.float32)}
        for output, values in OnnxRunner(bundle.path(f"encoders/{name}.onnx"), threads=1).run(given).items():
            np.testing.assert_array_equal(copied.run(given)[output], values)
            told = next(tensor for tensor in model.outputs if tensor.name == output)
            assert all(size in (-1, real) for size, real in zip(told.shape, values.shape[1:], strict=True))


def test_the_configuration_tells_types_shapes_and_batching() -> None:
    text = config_text(describe("xray", TINY / "encoders" / "xray.onnx"))
    assert f"max_batch_size: {MAX_BATCH}" in text
    assert 'input [ { name: "input" data_type: TYPE_FP32 dims: [3, 32, 32] } ]' in text
    assert "dynamic_batching { preferred_batch_size: [8, 16, 32]" in text
    assert "instance_group [ { count: 1 kind: KIND_CPU } ]" in text
    told = config_text(describe("text", TINY / "text.onnx"), gpus=2)
    assert 'name: "input_ids" data_type: TYPE_INT64 dims: [-1]' in told
    assert "instance_group [ { count: 2 kind: KIND_GPU } ]" in told


def test_triton_itself_would_read_the_configuration() -> None:
    """By the very messages that the server reads it with, where its client is installed."""
    messages = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    from google.protobuf import text_format

    text = config_text(describe("xray", TINY / "encoders" / "xray.onnx"), gpus=1)
    config = text_format.Parse(text, messages.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("xray", "onnxruntime", MAX_BATCH)
    assert list(config.input[0].dims) == [3, 32, 32]
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16, 32]


def test_weights_beside_a_graph_come_along(tmp_path: Path) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    save_graph(onnx.load(bundle / "encoders" / "xray.onnx"), bundle / "encoders" / "xray.onnx", largest=10)
    (beside,) = weights_beside(bundle / "encoders" / "xray.onnx")
    named = f"encoders/{beside.name}"
    alter_json(bundle / "bundle.json", lambda c: c["encoders"]["xray"].update(weights=[named]))
    write_repository(open_bundle(reseal(bundle)), tmp_path / "repository")
    folder = tmp_path / "repository" / "xray" / VERSION
    assert sorted(p.name for p in folder.iterdir()) == ["model.onnx", beside.name]
    runner = OnnxRunner(folder / "model.onnx", threads=1, weights={folder / beside.name: None})
    assert runner.run({"input": np.ones((1, 3, 32, 32), np.float32)})["embedding"].shape == (1, 16)


def test_the_command_names_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("triton", TINY, "--out", tmp_path / "repository", monkeypatch=monkeypatch) == 0
    assert "xray: input, embedding, evidence" in capsys.readouterr().out
