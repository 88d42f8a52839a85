"""The tower tables of a recipe that name towers made elsewhere: `tower = { kind = "...", path = "..." }`.

Paths are relative to where the command runs; `~` is the home folder.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dicom_node.bundle.manifest import Frozen


class LoadedTowerRecipe(Frozen):
    """What all of them have."""

    path: str
    """Folder of the model, or (generic) the TOML file that describes it."""
    frozen: int = Field(default=0, ge=0)
    """How many stages of the image encoder stay as they came: for a vision transformer its embedding and then
    its blocks, for a ResNet its stem and then its four stages. Their output may be computed once."""
    variants: int = Field(default=1, ge=1)
    """Copies of each training image, as of the towers made here."""


class TransformersTowerRecipe(LoadedTowerRecipe):
    """CLIPModel, SiglipModel or VisionTextDualEncoderModel, as transformers saves them."""

    kind: Literal["transformers-clip"]


class OpenClipTowerRecipe(LoadedTowerRecipe):
    """What open_clip saves for the Hub."""

    kind: Literal["open-clip"]
    text_model: str | None = None
    """Folder with the config.json of the text tower's transformers model, where it has one: open_clip's
    layout names that model, but does not hold the file."""


class GenericTowerRecipe(LoadedTowerRecipe):
    """Any image encoder that this package can build, with a transformers text model or none; `path` is a TOML
    file, see `generic.py`."""

    kind: Literal["generic"]
