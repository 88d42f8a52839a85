"""The node's settings: one TOML file, overridden by environment variables, read once and frozen.

    dicom-node serve --config node.toml
    M3BIND__DIMSE__PORT=11113 dicom-node serve        a section and a key, __ between

An unknown key is an error, in the file and in the environment: a typing mistake must not pass for a default.
`deploy/node.example.toml` shows all of them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from dicom_node.errors import ConfigError

AeTitle = Annotated[
    str, Field(pattern=r"^[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?$")
]
"""PS3.5 section 6.2, VR AE: 1 to 16 characters, no backslash, no space at either end."""
Port = Annotated[int, Field(ge=0, le=65535)]
"""0 takes a free port and prints it."""
Provider = Literal["tensorrt", "cuda", "openvino", "cpu"]
"""Of ONNX Runtime, in the order in which they are tried unless told otherwise."""
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Host headers of a browser on this very machine."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]

PREFIX = "M3BIND__"
"""Of environment variables."""
SHIPPED_BUNDLE = Path(__file__).parent / "assets" / "m3bind-mini"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DimseSettings(_Section):
    """The DICOM service class provider."""

    host: str = "127.0.0.1"
    port: Port = 11112
    ae_title: AeTitle = "M3BIND"
    max_associations: int = Field(default=32, ge=1)
    """At once; a further one is rejected as transient, so that the peer tries again."""
    idle_seconds: float = Field(default=60.0, gt=0)
    """A peer silent for this long is aborted."""
    question_ae_title: AeTitle = "M3BIND_FIND"
    """Called by this name, the node takes Study Description for a question in words."""
    find_limit: int = Field(default=1000, ge=1)
    """Matches that are told to one C-FIND at most; whoever asks is told that there are more."""
    retrieve_ae_title: AeTitle | None = None
    """Retrieve AE Title of answers: the archive that holds what was sent here. The node has no C-MOVE."""


class HttpSettings(_Section):
    """The web page and the HTTP interface."""

    host: str = "127.0.0.1"
    port: Port = 8043
    allowed_hosts: tuple[str, ...] = LOOPBACK_HOSTS
    """Host headers that are answered: a guard against DNS rebinding."""


class DatabaseSettings(_Section):
    """PostgreSQL with pgvector."""

    url: SecretStr | None = None
    """postgresql://user:password@host/name of a PostgreSQL of your own; None: the embedded one."""


class SpoolSettings(_Section):
    """Where received objects lie."""

    min_free_bytes: int = Field(default=1 << 30, ge=0)
    """Below this much free space, senders are told Out of Resources."""


class StudySettings(_Section):
    """When a study counts as complete."""

    quiet_seconds: float = Field(default=5.0, gt=0)
    """After its last instance. Longer than the sender's longest pause; shorter means sooner reports."""


class InferenceSettings(_Section):
    """Where the encoders run: in this process by ONNX Runtime, or on a model server."""

    url: str | None = None
    """grpc://HOST:PORT (grpcs:// for TLS) of a server that speaks the Open Inference Protocol and serves what
    `m3bind-export triton` wrote for this bundle. None: ONNX Runtime, by the settings below."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """How long such a server may take for one batch."""

    providers: tuple[Provider, ...] = get_args(Provider)
    """In order of preference; those that are not installed are passed over, and what was chosen is logged."""
    threads: int = Field(default=0, ge=0)
    """Of one session; 0: as many as there are cores."""
    tensorrt_engines: Path | None = None
    """Folder that `m3bind-export tensorrt` wrote for this bundle and GPU. Without it TensorRT is passed over:
    a node never compiles for minutes when it starts."""


class FindingsSettings(_Section):
    """Which findings of the bundle are scored and reported; its own choice unless told otherwise."""

    enable: tuple[str, ...] = ()
    """Ids that the bundle knows and leaves out by itself, because it tells them badly or was not measured."""
    disable: tuple[str, ...] = ()
    """Ids that this site does not want."""


class WorkerSettings(_Section):
    """Who does the work that arrives."""

    in_process: bool = True
    """`serve` works too. False: only `dicom-node worker` processes do."""
    concurrency: int = Field(default=1, ge=1)
    """Jobs at once in one worker."""


class OrthancSettings(_Section):
    """An Orthanc, by its REST interface: studies are fetched from it and reports stored into it."""

    kind: Literal["orthanc"]
    name: Name
    url: str
    ae_title: AeTitle | None = None
    """Of its DICOM port: Retrieve AE Title of the studies that it announced."""
    username: str | None = None
    password: SecretStr | None = None
    timeout_seconds: float = Field(default=30.0, gt=0)


class StowSettings(_Section):
    """Any archive that takes STOW-RS (PS3.18 section 10.5)."""

    kind: Literal["stow"]
    name: Name
    url: str
    """The DICOMweb root, e.g. https://pacs.example.org/dicom-web"""
    ae_title: AeTitle | None = None
    """Of its DICOM port, if it has one: Retrieve AE Title of answers."""
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    """Bearer token, instead of user and password."""
    timeout_seconds: float = Field(default=30.0, gt=0)


class CStoreSettings(_Section):
    """Any archive that takes C-STORE (PS3.4 annex B)."""

    kind: Literal["cstore"]
    name: Name
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    ae_title: AeTitle
    """Of the archive."""
    timeout_seconds: float = Field(default=30.0, gt=0)


ArchiveSettings = Annotated[OrthancSettings | StowSettings | CStoreSettings, Field(discriminator="kind")]


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        hide_input_in_errors=True,
    )

    data_dir: Path = Path("~/.local/share/m3bind-pacs")
    """Spool, embedded database, caches. Needs the space of the studies that pass through."""
    bundle: Path = SHIPPED_BUNDLE
    dimse: DimseSettings = DimseSettings()
    http: HttpSettings = HttpSettings()
    database: DatabaseSettings = DatabaseSettings()
    spool: SpoolSettings = SpoolSettings()
    study: StudySettings = StudySettings()
    inference: InferenceSettings = InferenceSettings()
    findings: FindingsSettings = FindingsSettings()
    worker: WorkerSettings = WorkerSettings()
    archives: tuple[ArchiveSettings, ...] = ()
    deliver_to: tuple[Name, ...] = ()
    """Names of archives that get the report of a study received by C-STORE. A study that an archive
    announced goes back to that archive, whatever stands here."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    @model_validator(mode="after")
    def _names_fit(self) -> Settings:
        names = [archive.name for archive in self.archives]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"archives: the name {doubled[0]!r} is used twice; give each archive its own")
        for name in self.deliver_to:
            if name not in names:
                known = ", ".join(names) or "none"
                raise ValueError(f"deliver_to: no archive is named {name!r} (there are: {known})")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content comes as init arguments."""
        return (env_settings, init_settings)


def load_settings(path: Path | None = None, **defaults: Any) -> Settings:
    """Read the TOML file at `path` (None: no file), then the environment.

    `defaults` stand in for what the file does not say. Relative paths in the file are relative to the
    file's folder. Raises ConfigError with the key or variable and what is wrong.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from error
        for key in ("data_dir", "bundle"):
            if isinstance(table.get(key), str):
                table[key] = path.parent / Path(table[key]).expanduser()
    if unknown := unknown_variables(os.environ):
        raise ConfigError(
            "the environment is wrong:\n"
            + "\n".join(
                f"  {n}: there is no such setting; deploy/node.example.toml lists all" for n in unknown
            )
        )
    try:
        settings = Settings(**{**defaults, **table})
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from error
    absolute = {key: getattr(settings, key).expanduser().absolute() for key in ("data_dir", "bundle")}
    return settings.model_copy(update=absolute)


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """The names that begin as our variables do, but belong to no setting: pydantic passes them over."""
    ours = (name for name in environment if name.upper().startswith(PREFIX))
    return sorted(name for name in ours if not _is_setting(name.upper().removeprefix(PREFIX).split("__")))


def _is_setting(parts: Sequence[str]) -> bool:
    section: type[BaseModel] = Settings
    for number, part in enumerate(parts, start=1):
        field = section.model_fields.get(part.lower())
        if field is None:
            return False
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, _Section)):
            return number == len(parts)  # a list is given as a whole, in JSON
        section = field.annotation
    return True  # a whole section, in JSON


def _explain(error: ValidationError, path: Path | None) -> str:
    where = "the configuration" if path is None else str(path)
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "there is no such setting; deploy/node.example.toml lists all"
        lines.append(f"  {key}: {message}" if key else f"  {message}")
    return f"{where} is wrong:\n" + "\n".join(lines)
