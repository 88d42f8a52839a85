from __future__ import annotations

from typing import Any

import pytest

from orthanc_plugin.settings import PluginConfigError, Settings, parse_settings


def test_without_a_section_the_defaults_hold() -> None:
    assert parse_settings(None) == parse_settings({}) == Settings()


def test_every_key_is_read() -> None:
    assert parse_settings(
        {
            "NodeUrl": "https://node.example.org:8043/m3bind/",
            "ArchiveName": "pacs",
            "Token": "t0ken",
            "CaFile": "/etc/ssl/site.pem",
            "TimeoutSeconds": 3,
            "MaxRetrySeconds": 5.5,
            "AnnounceExisting": True,
        }
    ) == Settings(
        "https://node.example.org:8043/m3bind", "pacs", "t0ken", "/etc/ssl/site.pem", 3.0, 5.5, True
    )


def test_null_means_no_token() -> None:
    assert parse_settings({"Token": None, "CaFile": None}) == Settings()


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ([], "must be an object"),
        ({"nodeurl": "http://x"}, 'no key "nodeurl"'),
        ({"NodeUrl": "node:8043"}, "must look like"),
        ({"NodeUrl": "http://"}, "must look like"),
        ({"NodeUrl": "http://node:99999"}, "must look like"),
        ({"NodeUrl": "http://node/?a=b"}, "must look like"),
        ({"NodeUrl": "http://u:s3cret@node"}, "must not hold credentials"),
        ({"NodeUrl": 8043}, "not empty"),
        ({"ArchiveName": " "}, "not empty"),
        ({"Token": "s3cret\n"}, "printable"),
        ({"Token": ["s3cret"]}, "not empty"),
        ({"TimeoutSeconds": 0}, "above 0"),
        ({"TimeoutSeconds": True}, "above 0"),
        ({"TimeoutSeconds": float("nan")}, "above 0"),
        ({"MaxRetrySeconds": "60"}, "above 0"),
        ({"AnnounceExisting": 1}, "true or false"),
    ],
)
def test_what_cannot_work_is_told_without_secrets(section: Any, says: str) -> None:
    with pytest.raises(PluginConfigError, match=says) as caught:
        parse_settings(section)
    assert "s3cret" not in str(caught.value)
