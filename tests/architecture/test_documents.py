"""What the documents name exists: commands, options, settings, routes, floors."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

from dicom_node.cli import app
from dicom_node.config import CStoreSettings, OrthancSettings, Settings, StowSettings, load_settings
from dicom_node.web.app import create_app
from tests.support.studies import StudiesInMemory
from tests.support.tree import ROOT
from tests.support.web_node import Node

DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
SECTIONS = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def calls(path: Path) -> Iterator[list[str]]:
    """Every call of `dicom-node` in a document, its words behind the name."""
    for found in re.finditer(r"(?:^|[`/ ])dicom-node ((?:[^`\n#])+)", path.read_text(encoding="utf-8")):
        yield shlex.split(found[1].rstrip(" .,;)"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(path: Path) -> None:
    for words in calls(path):
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_walk_over_the_documents_finds_calls() -> None:
    told = {words[0] for words in calls(ROOT / "docs" / "INSTALL.md")}
    assert {"serve", "analyse", "echo", "bundle", "worker"} <= told


def test_every_command_is_told() -> None:
    told = {words[0] for name in ("README.md", "docs/INSTALL.md") for words in calls(ROOT / name)}
    command: Any = typer.main.get_command(app)
    assert told >= set(command.commands) - {"demo"}  # which is told as `make demo`


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_settings_exist(path: Path) -> None:
    sections = "|".join(SECTIONS)
    for section, key in re.findall(rf"`({sections})\.([a-z_]+)`", path.read_text(encoding="utf-8")):
        if key not in {"py", "json"}:  # a file of that name
            assert key in SECTIONS[section].model_fields, f"{section}.{key}"


def test_the_example_holds_every_setting_and_no_other(tmp_path: Path) -> None:
    example = (ROOT / "deploy" / "node.example.toml").read_text(encoding="utf-8")
    settings_lines = re.sub(r"(?m)^# (?=\[\[|[a-z_]+ = )", "", example)
    written = tmp_path / "node.toml"
    written.write_text(settings_lines, encoding="utf-8")
    load_settings(written)  # an unknown key is an error
    table = tomllib.loads(settings_lines)
    for name, field in Settings.model_fields.items():
        assert name in table, name
        if name in SECTIONS:
            assert set(table[name]) == set(SECTIONS[name].model_fields), name
        elif name != "archives" and name not in ("data_dir", "bundle", "deliver_to"):
            assert table[name] == field.default, name
    told = {key for archive in table["archives"] for key in archive}
    for kind in (OrthancSettings, StowSettings, CStoreSettings):
        assert set(kind.model_fields) <= told | {"timeout_seconds"}


def test_the_interface_lists_every_route() -> None:
    document = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
    told = {
        (method, path.split("?")[0]) for method, path in re.findall(r"\| `(GET|POST) ([^`]+)` \|", document)
    }
    served = {
        (method.upper(), path)
        for path, operations in create_app(Node(StudiesInMemory()).ports()).openapi()["paths"].items()
        for method in operations
        if path == "/health" or path.startswith(("/api/", "/dicom-web/"))
    }
    assert told == served


def test_every_problem_is_listed() -> None:
    document = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
    slugs = {
        slug
        for source in (ROOT / "dicom_node" / "web").glob("*.py")
        for slug in re.findall(
            r'(?:Problem\(\d+|_nothing_yet\(|\(\d{3}), ?"?([a-z]+(?:-[a-z]+)+)"', source.read_text("utf-8")
        )
    }
    assert len(slugs) > 10
    assert not {slug for slug in slugs if f"`{slug}`" not in document}


def test_the_floors_are_those_of_the_contract() -> None:
    document = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = document.split("## Floors")[1].split("## ")[0]
    drawn = [
        set(re.findall(r"[a-z0-9_]+", line.strip().split("  ")[0]))
        for line in block.splitlines()
        if line.startswith("    ")
    ]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (floors,) = (c for c in contracts["contracts"] if c["name"] == "Floors of the node")
    at = -1
    for layer in floors["layers"]:
        rooms = set(layer.replace("dicom_node.", "").split(" | "))
        (found,) = (index for index, names in enumerate(drawn) if rooms <= names)
        assert found > at, layer
        at = found
