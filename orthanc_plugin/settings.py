"""Orthanc's JSON section "M3Bind", checked once and frozen. docs/ORTHANC.md explains every key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

SECTION = "M3Bind"
MOST_WAIT = 30.0
"""Seconds."""


class PluginConfigError(Exception):
    """The section is wrong; the message says which key and what to write."""


@dataclass(frozen=True)
class Settings:
    """What a site may choose."""

    node_url: str = "http://127.0.0.1:8043"
    """Root of the node's HTTP interface."""
    archive_name: str = "orthanc"
    """This Orthanc's name in the node's own configuration, by which the node finds its way back."""
    token: str | None = None
    """Sent to the node as a bearer token."""
    ca_file: str | None = None
    """PEM file of the authorities to trust for https, instead of the system's."""
    timeout_seconds: float = 10.0
    """For the connection to the node and for each answer. The node only takes note, so this is ample."""
    max_retry_seconds: float = 60.0
    """Longest pause between two attempts while the node is down."""
    announce_existing: bool = False
    """On the very first start: also announce the studies that are already in the archive."""
    ask_timeout_seconds: float = 5.0
    """For everything that somebody waits for: a search, findings, a question by C-FIND."""
    explorer: bool = True
    """Add a button to the pages of Orthanc Explorer."""
    find: bool = False
    """Answer C-FIND in Orthanc's place, so that questions in words can be asked of Orthanc itself."""


def parse_settings(section: Any) -> Settings:
    """Settings from the JSON section (None where Orthanc has none: all defaults).

    Raises PluginConfigError for an unknown key or a value that cannot work.
    """
    if section is None:
        return Settings()
    if not isinstance(section, Mapping):
        raise PluginConfigError(f'"{SECTION}" must be an object: {{"NodeUrl": "http://127.0.0.1:8043"}}')
    values: dict[str, Any] = {}
    for key, value in section.items():
        if key not in _KEYS:
            raise PluginConfigError(f'"{SECTION}" has no key "{key}"; there are: {", ".join(_KEYS)}')
        field, check = _KEYS[key]
        values[field] = check(f'"{SECTION}.{key}"', value)
    return Settings(**values)


def _url(key: str, value: Any) -> str:
    text = _text(key, value)
    parts = urlsplit(text)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number or too large
        usable = False
    if not usable or parts.query or parts.fragment:
        raise PluginConfigError(f"{key} must look like http://127.0.0.1:8043")
    if parts.username is not None:
        raise PluginConfigError(f'{key} must not hold credentials; give the node\'s token as "Token"')
    return text.rstrip("/")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PluginConfigError(f"{key} must be a text that is not empty")
    return value


def _token(key: str, value: Any) -> str | None:
    if value is None:
        return None
    text = _text(key, value)
    if not text.isascii() or not text.isprintable():
        raise PluginConfigError(f"{key} must consist of printable ASCII characters")
    return text


def _optional_text(key: str, value: Any) -> str | None:
    return None if value is None else _text(key, value)


def _seconds(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 3600:
        raise PluginConfigError(f"{key} must be a number of seconds, above 0 and at most 3600")
    return float(value)


def _wait(key: str, value: Any) -> float:
    seconds = _seconds(key, value)
    if seconds > MOST_WAIT:
        raise PluginConfigError(
            f"{key} must be at most {MOST_WAIT:.0f}: Orthanc answers no other C-FIND meanwhile"
        )
    return seconds


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise PluginConfigError(f"{key} must be true or false")
    return value


_KEYS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "NodeUrl": ("node_url", _url),
    "ArchiveName": ("archive_name", _text),
    "Token": ("token", _token),
    "CaFile": ("ca_file", _optional_text),
    "TimeoutSeconds": ("timeout_seconds", _seconds),
    "MaxRetrySeconds": ("max_retry_seconds", _seconds),
    "AnnounceExisting": ("announce_existing", _flag),
    "AskTimeoutSeconds": ("ask_timeout_seconds", _wait),
    "Explorer": ("explorer", _flag),
    "Find": ("find", _flag),
}
