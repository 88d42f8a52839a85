"""Encoders on a model server over the repository of `m3bind-export triton`, by the real protocol."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tritonclient.grpc", reason="needs the remote extra")
pytest.importorskip("torch", reason="needs the train extra, which writes the repository")

from dicom_node.bundle.store import open_bundle
from dicom_node.engine import Engine
from dicom_node.errors import (
    BundleSelfTestError,
    ConfigError,
    InferenceError,
    InferenceUnavailableError,
)
from dicom_node.inference.batching import MAX_BATCH
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.remote import ModelServer
from dicom_node.inference.selftest import TEXT
from dicom_node.jobs.retry import Kind, kind_of
from export.triton import write_repository
from tests.support.bundles import TINY
from tests.support.model_server import stubs
from tests.support.waiting import free_port

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "repository"
    write_repository(open_bundle(TINY), folder)
    return folder


@pytest.fixture(scope="module")
def served(repository):
    with stubs(repository) as (url, service):
        yield url, service


@pytest.fixture
def server(served):
    client = ModelServer(served[0], 10.0)
    yield client
    client.close()


def test_answers_are_those_of_onnx_runtime_here(server):
    bundle = open_bundle(TINY)
    random = np.random.default_rng(0)
    for name, part in bundle.manifest.encoders.items():
        given = {"input": random.normal(size=(3, *part.input_shape)).astype(np.float32)}
        here = OnnxRunner(bundle.path(part.file), threads=1).run(given)
        there = server.model(name).run(given)
        assert set(there) == set(here)
        for output, values in here.items():
            np.testing.assert_allclose(there[output], values, atol=1e-6)
    ids = random.integers(5, 20, (2, 7))
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    here = OnnxRunner(bundle.path(bundle.manifest.text.file), threads=1).run(given)
    np.testing.assert_allclose(server.model(TEXT).run(given)["embedding"], here["embedding"], atol=1e-6)


def test_more_than_one_batch_goes_in_parts(server, served):
    shape = open_bundle(TINY).manifest.encoders["xray"].input_shape
    given = np.random.default_rng(1).normal(size=(2 * MAX_BATCH + 1, *shape)).astype(np.float32)
    served[1].asked.clear()
    whole = server.model("xray").run({"input": given})["embedding"]
    assert served[1].asked == [("xray", MAX_BATCH), ("xray", MAX_BATCH), ("xray", 1)]
    last = server.model("xray").run({"input": given[-1:]})["embedding"]
    np.testing.assert_allclose(whole[-1:], last, atol=1e-6)


def test_several_threads_share_one_connection(server):
    shape = open_bundle(TINY).manifest.encoders["xray"].input_shape
    runner = server.model("xray")
    given = [np.full((1, *shape), value, np.float32) for value in np.linspace(0, 1, 12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: runner.run({"input": one})["embedding"], given))
    for one, answer in zip(given, together, strict=True):
        np.testing.assert_array_equal(answer, runner.run({"input": one})["embedding"])


def test_a_node_proves_the_server_at_every_start(server, served, tmp_path):
    for _ in range(2):  # a cache of passed tests must not spare the second
        served[1].asked.clear()
        engine = Engine.load(TINY, server=server, cache_dir=tmp_path)
        assert {name for name, _ in served[1].asked} == {*engine.encoders, TEXT}
    assert engine.providers == (served[0],)
    here = Engine.load(TINY, providers=["cpu"], threads=1)
    texts = ["no pneumothorax", "a chest radiograph"]
    np.testing.assert_allclose(engine.embed_texts(texts), here.embed_texts(texts), atol=1e-5)
    assert not list(tmp_path.glob("selftest-*"))


def test_a_wrong_model_on_the_server_is_refused(repository, tmp_path):
    other = tmp_path / "repository"
    shutil.copytree(repository, other)
    shutil.copyfile(other / "ct" / "1" / "model.onnx", other / "xray" / "1" / "model.onnx")
    with (
        stubs(other) as (url, _),
        pytest.raises(BundleSelfTestError, match=r"of xray: cosine .*grpc://.*m3bind-export triton"),
    ):
        Engine.load(TINY, server=ModelServer(url, 10.0))


def test_a_server_without_the_model_is_told_apart_from_one_that_is_away(repository, tmp_path):
    less = tmp_path / "repository"
    shutil.copytree(repository, less)
    shutil.rmtree(less / "ct")
    with stubs(less) as (url, _):
        server = ModelServer(url, 10.0)
        with pytest.raises(InferenceError, match=r"refused to run ct .*'ct' is not found") as refused:
            server.model("ct").run({"input": np.zeros((1, 3, 32, 32), np.float32)})
        with pytest.raises(BundleSelfTestError, match="'ct' is not found"):
            Engine.load(TINY, server=server)
    assert not isinstance(refused.value, InferenceUnavailableError)
    with pytest.raises(InferenceUnavailableError, match=r"UNAVAILABLE.*inference\.url") as away:
        Engine.load(TINY, server=ModelServer(f"grpc://127.0.0.1:{free_port()}", 2.0))
    assert kind_of(away.value) is Kind.PATIENT


def test_a_wrong_shape_is_refused_by_the_server(server):
    with pytest.raises(InferenceError, match=r"INVALID_ARGUMENT.*unexpected input 'input'"):
        server.model("xray").run({"input": np.zeros((1, 3, 32, 33), np.float32)})


def test_a_slow_server_is_given_up_in_time(repository):
    with stubs(repository) as (url, service):
        service.delay = 1.0
        began = time.monotonic()
        with pytest.raises(InferenceUnavailableError, match=r"within 0\.2 s .*DEADLINE_EXCEEDED"):
            ModelServer(url, 0.2).model("xray").run({"input": np.zeros((1, 3, 32, 32), np.float32)})
        assert time.monotonic() - began < 0.9


@pytest.mark.parametrize(
    "url", ["triton:8001", "http://triton:8000", "grpc://triton", "grpc://me:pw@triton:1"]
)
def test_an_address_of_another_form_is_refused(url):
    with pytest.raises(ConfigError, match=r"inference\.url: .*grpc://HOST:PORT"):
        ModelServer(url, 1.0)


def test_engines_of_this_machine_and_a_server_exclude_each_other(served):
    with pytest.raises(ConfigError, match="exclude each other"):
        Engine.load(TINY, server=ModelServer(served[0], 1.0), tensorrt_engines=Path("engines"))
