"""bundle.json, formats 1 and 2: what a bundle says of itself.

    bundle.json          this module
    encoders/<modality>.onnx     input `input` (N, *input_shape) float32; outputs `embedding` (N, D) unit-norm
                         and, where the input is spatial or temporal, `evidence` (N, h, w, D): see `Encoder`
    text.onnx, tokenizer.json    inputs `input_ids`, `attention_mask` (N, L) int64; output `embedding` (N, D)
    findings.json        `catalogue.py`
    scope.json           `catalogue.py`
    selftest.npz         `<modality>.input`, `<modality>.embedding`, maybe `<modality>.evidence`,
                         `text.input_ids`, `text.attention_mask`, `text.embedding`, `text.strings`; no
                         pickled objects
    MODEL_CARD.md        for people

Unknown keys are errors, so that a typing mistake never passes for a default. Additions to the format
come with a new `format` number; a reader of a later format must still load the earlier ones.

Format 2 adds, each with a default under which a bundle of format 1 means what it meant:

    findings.json   `enabled`, `disabled_because`, `operating_point`, the calibration `monotone`
    bundle.json     `weights` of an encoder and of the text encoder
    scope.json      whatever `catalogue.ScopeEntry` marks as of format 2
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Literal[2] = 2
"""What is written."""
READABLE = (1, 2)
"""What is read."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ModalityId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class Frozen(BaseModel):
    """Base of all parts: immutable, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Operation(BaseModel):
    """One named step of preprocessing with its parameters; `dicom_node/pixels/ops.py` holds the steps."""

    model_config = ConfigDict(frozen=True, extra="allow")

    op: str

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class Pooling(Frozen):
    """How N samples of one view (slices, tiles) become one margin per finding."""

    method: Literal["mean", "top"] = "mean"
    fraction: float = Field(default=1.0, gt=0, le=1)
    """For `top`: the mean of this part of the samples, the highest ones (at least one)."""


class Encoder(Frozen):
    """One modality's encoder.

    `evidence` (N, h, w, D) holds the un-normalised local vectors whose mean over h and w points the way
    of `embedding`; a finding's margin is therefore the sum of its local contributions, and the evidence
    region is what the model really used. For a waveform h is 1 and w runs over time.
    """

    file: str
    reader: Literal["radiograph", "ct", "retina", "ecg", "slide"]
    """Which reader of `dicom_node/pixels` feeds it. What the reader hands to the first operation:

    radiograph  (H, W) float32, 0 to 1, display-ready: VOI applied, bright is dense whatever the photometric
    ct          (H, W) float32 HU, one slice each
    retina      (H, W, 3) float32, 0 to 1, RGB
    ecg         (12, T) float32, mV, leads I II III aVR aVL aVF V1..V6, at the recording's own rate
    slide       (H, W, 3) float32, 0 to 1, RGB tile at `sampling.microns_per_pixel`
    """
    sampling: dict[str, float | int | str] = {}
    """Reader's parameters. ct: `slices`. slide: `microns_per_pixel`, `tile` (pixels), `tiles`.
    ecg: `seconds`."""
    preprocess: tuple[Operation, ...]
    input_shape: tuple[int, ...]
    """Of one sample: (C, H, W) or (12, T)."""
    evidence: bool
    pooling: Pooling = Pooling()
    weights: tuple[str, ...] = ()
    """Further files of the bundle that hold weights of `file` (format 2): a graph is one protocol buffer and
    cannot be larger than 2 GB, so a larger one keeps its weights beside it, as ONNX "external data"."""


class Text(Frozen):
    """The one text encoder of all modalities."""

    file: str = "text.onnx"
    tokenizer: str = "tokenizer.json"
    max_tokens: int = Field(gt=0)
    lowercase: bool = False
    """Whether prompts are lower-cased before tokenising (most tokenizer.json do it themselves)."""
    weights: tuple[str, ...] = ()
    """As of an encoder."""


class Provenance(Frozen):
    """Where the bundle comes from."""

    created: str
    """UTC, ISO 8601."""
    commit: str
    data: tuple[str, ...]
    """Data sets it was trained on, with licence."""
    recipe: dict[str, Any] = {}
    metrics: dict[str, Any] = {}


class SelfTest(Frozen):
    """How close this machine's outputs must be to the sealed ones."""

    file: str = "selftest.npz"
    """Where it holds evidence, that is compared too; a v1 bundle need not hold any."""
    min_cosine: float = Field(default=0.999, gt=0, le=1)


class Manifest(Frozen):
    """The whole of bundle.json."""

    format: Literal[1, 2]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+([.-][A-Za-z0-9.]+)?$")]
    description: str
    dimension: int = Field(gt=0, le=4096)
    files: dict[str, Sha256]
    """sha256 of every other file of the bundle, by path relative to it."""
    encoders: dict[ModalityId, Encoder]
    text: Text
    findings: str = "findings.json"
    scope: str = "scope.json"
    selftest: SelfTest = SelfTest()
    provenance: Provenance
