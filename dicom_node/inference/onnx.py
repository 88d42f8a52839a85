"""Runs a model in this process with ONNX Runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from dicom_node.errors import BundleFormatError, BundleIntegrityError, ConfigError, InferenceError
from dicom_node.inference.protocol import Array
from dicom_node.inference.weights import external_files

CPU = "CPUExecutionProvider"

PREFERRED: tuple[str, ...] = (
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "OpenVINOExecutionProvider",
    CPU,
)
"""Best first. ONNX Runtime gives to the next what one cannot run, so the CPU always stands last."""

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {"tensorrt": PREFERRED[0], "cuda": PREFERRED[1], "openvino": PREFERRED[2], "cpu": CPU}
)
"""What settings call them."""

OPTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # TF32 would make embeddings depend on the generation of the card.
        "CUDAExecutionProvider": MappingProxyType({"use_tf32": "0"}),
        # Its default is bfloat16 where the processor has it: embeddings would depend on the machine.
        "OpenVINOExecutionProvider": MappingProxyType({"device_type": "CPU", "precision": "FP32"}),
    }
)

NO_WEIGHTS: Mapping[Path, str | None] = MappingProxyType({})

_LOAD_ERRORS = (
    native.EPFail,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NoModel,
    native.NoSuchFile,
    native.NotImplemented,
    native.RuntimeException,
)
_RUN_ERRORS = (native.EPFail, native.Fail, native.InvalidArgument, native.RuntimeException, ValueError)


def choose_providers(wanted: Sequence[str] | None, available: Sequence[str] | None = None) -> tuple[str, ...]:
    """Execution providers to use, best first, CPU always last.

    `wanted` are the short names of SHORT_NAMES or ONNX Runtime's own, in order of preference; None or empty
    means PREFERRED. Those that this installation lacks are passed over; the caller tells which were chosen.
    Raises ConfigError for an unknown name, and where none of those wanted is installed: who asks for a GPU
    alone must not be given the CPU without a word.
    """
    present = tuple(available if available is not None else onnxruntime.get_available_providers())
    asked = [SHORT_NAMES.get(name.lower(), name) for name in wanted or PREFERRED]
    for name in asked:
        if name not in SHORT_NAMES.values() and name not in present:
            raise ConfigError(f"Unknown execution provider {name}; known are {', '.join(SHORT_NAMES)}.")
    chosen = [name for name in asked if name in present]
    if not chosen:
        raise ConfigError(
            f"None of the execution providers {', '.join(asked)} is in this installation of ONNX Runtime, "
            f"which has {', '.join(present)}. Install the matching package, or add cpu to the list."
        )
    return (*(name for name in dict.fromkeys(chosen) if name != CPU), CPU)


def in_use(chosen: Sequence[str], sessions: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Of the providers `chosen` those that every one of `sessions` took, in order: ONNX Runtime goes on
    without a provider whose driver or library does not start."""
    took = [set(session) for session in sessions]
    return tuple(name for name in chosen if all(name in each for each in took))


class OnnxRunner:
    """One ONNX file as an inference session; see `protocol.Runner`. Safe to call from several threads."""

    def __init__(
        self,
        path: Path,
        providers: Sequence[str] = (CPU,),
        threads: int = 0,
        *,
        sha256: str | None = None,
        weights: Mapping[Path, str | None] = NO_WEIGHTS,
        provider_options: Mapping[str, Mapping[str, str]] = OPTIONS,
    ) -> None:
        """`threads` within one operator; 0 lets ONNX Runtime take one for each core. With a `sha256` (hex)
        the very bytes that are run are proven to be the sealed ones. `weights`: the further files, in the
        folder of `path` or below, in which weights of the model may lie, with their sha256.
        `provider_options` by provider.

        Raises BundleFormatError where ONNX Runtime cannot load the file or its weights lie in a file that
        `weights` does not name, BundleIntegrityError where one is not the one sealed.
        """
        model, beside = _read_model(path, sha256, weights)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A spinning pool of every encoder would take the cores from the one that works.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without it the runtime also takes a format of its own, whose weights nobody looked at.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if beside:
            # Given as bytes, so that what was proven is what is run. The runtime copies them.
            options.add_external_initializers_from_files_in_memory(
                list(beside), list(beside.values()), [len(content) for content in beside.values()]
            )
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=[(name, dict(provider_options.get(name, {}))) for name in providers]
            )
        except _LOAD_ERRORS as error:
            raise BundleFormatError(f"{path.name} cannot be loaded by ONNX Runtime: {error}") from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def providers(self) -> tuple[str, ...]:
        """Those in use, which may be fewer than were asked for."""
        return tuple(self._session.get_providers())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name for one batch. Raises InferenceError."""
        try:
            answers: list[Any] = self._session.run(self._outputs, dict(inputs))
        except _RUN_ERRORS as error:
            raise InferenceError(f"ONNX Runtime could not run the encoder: {error}") from error
        return dict(zip(self._outputs, answers, strict=True))


def _read_model(
    path: Path, sha256: str | None, weights: Mapping[Path, str | None]
) -> tuple[bytes, dict[str, bytes]]:
    """The file's bytes, from which the session is made, and those of the files that it names, by the name it
    gives them: nothing else is read from beside it."""
    model = _proven(path, sha256)
    try:
        named = external_files(model)
    except ValueError as error:
        raise BundleFormatError(f"{path.name} cannot be loaded: it is no ONNX model ({error}).") from error
    known = {file.relative_to(path.parent).as_posix(): (file, digest) for file, digest in weights.items()}
    for name in sorted(named - set(known)):
        raise BundleFormatError(
            f"{path.name} keeps weights in another file ({name or 'it does not say which'}), "
            "which the bundle does not prove. Export it again, or with all of its weights inside."
        )
    return model, {name: _proven(*known[name]) for name in sorted(named)}


def _proven(path: Path, sha256: str | None) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleFormatError(f"{path.name} cannot be loaded: {error.strerror}.") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise BundleIntegrityError(f"{path.name} was changed while it was loaded. Copy the bundle again.")
    return content
