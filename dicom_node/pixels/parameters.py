"""The parameters of the named operations of `ops.py`, as a bundle's `preprocess` states them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Parameters(BaseModel):
    """Base of all parameters: unknown keys and infinities are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NoParameters(Parameters):
    """For operations that have none."""


class Window(Parameters):
    """Linear window in the unit of the values (HU for CT)."""

    center: float
    width: float = Field(gt=0)


class Percentiles(Parameters):
    """Percentiles, 0 to 100, that become 0 and 1."""

    low: float = Field(ge=0, le=100)
    high: float = Field(ge=0, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> Percentiles:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Threshold(Parameters):
    """Brightness, 0 to 1, above which a pixel belongs to the illuminated field."""

    threshold: float = Field(gt=0, lt=1)


class Body(Parameters):
    """`threshold`, in the unit of the values (HU): above it is body. `fill`: what all else becomes."""

    threshold: float
    fill: float


class Surroundings(Parameters):
    """`threshold`: part of what a lit place shows, above which a pixel belongs to the field; `cells`: places
    along each side that have a local mean of their own; `gain`: of the ratio to it."""

    threshold: float = Field(gt=0, lt=1)
    cells: int = Field(ge=2, le=256)
    gain: float = Field(gt=0)


class Resize(Parameters):
    """`size` is (rows, columns). `pad` keeps all and the shape, filling the rest; `crop` keeps the middle
    and the shape; `stretch` keeps all."""

    size: tuple[Annotated[int, Field(gt=0, le=8192)], Annotated[int, Field(gt=0, le=8192)]]
    mode: Literal["pad", "stretch", "crop"] = "pad"
    fill: float = 0.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Edge(Parameters):
    """Pixels of the shorter side."""

    edge: int = Field(gt=0, le=8192)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Size(Parameters):
    """`size` is (rows, columns)."""

    size: tuple[Annotated[int, Field(gt=0, le=8192)], Annotated[int, Field(gt=0, le=8192)]]


class Bounds(Parameters):
    """What lies outside is set to the nearer bound."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Statistics(Parameters):
    """One number for all values, or one per channel."""

    mean: float | tuple[float, ...]
    std: (
        Annotated[float, Field(gt=0)]
        | Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    )


class Rate(Parameters):
    """Samples per second."""

    rate: float = Field(gt=0, le=100_000)


class Length(Parameters):
    """Seconds."""

    seconds: float = Field(gt=0, le=3600)


class Cutoff(Parameters):
    """Hz."""

    cutoff: float = Field(gt=0)


class Factor(Parameters):
    """A plain multiplier."""

    factor: float


class Limit(Parameters):
    """Values beyond +-limit are set to it."""

    limit: float = Field(gt=0)
