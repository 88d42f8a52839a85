"""Every command, argument and option says what it is for."""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import typer
import typer.main

APPS = [
    pytest.param("dicom_node.cli", id="dicom-node"),
    pytest.param("m3bind.cli", id="m3bind", marks=pytest.mark.train),
    pytest.param("export.cli", id="m3bind-export", marks=pytest.mark.train),
]


# Commands are click's or, with a later Typer, its own copy of click: the same attributes, other classes.
def _children(command: Any) -> dict[str, Any]:
    return dict(getattr(command, "commands", {}))


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, child in _children(command).items():
        yield from _commands(child, f"{path} {name}")


def _command_of(module_name: str) -> Any:
    module = importlib.import_module(module_name)
    apps = [value for value in vars(module).values() if isinstance(value, typer.Typer)]
    assert apps, f"{module_name} has no Typer app"
    return typer.main.get_command(apps[0])


@pytest.mark.parametrize("module_name", APPS)
def test_every_command_and_option_has_help(module_name: str) -> None:
    silent = []
    for path, command in _commands(_command_of(module_name), module_name):
        if not command.help:
            silent.append(path)
        silent += [
            f"{path} {parameter.name}" for parameter in command.params if not getattr(parameter, "help", None)
        ]
    assert not silent


def test_the_node_has_the_commands_that_others_rely_on() -> None:
    commands = _children(_command_of("dicom_node.cli"))
    assert {"serve", "worker", "analyse", "demo", "echo", "bundle"} <= set(commands)
