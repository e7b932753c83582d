"""Texts of plugins, cards, files and arguments are shown, and never command the terminal."""

from __future__ import annotations

import json
import logging

import pytest
from ase import Atoms
from ase.io import write

from halocline.checkpoint import load_checkpoint, save_checkpoint
from halocline.cli.main import Parser, main
from halocline.cli.output import HarmlessFormatter, emit, harmless, say
from halocline.cli.tables import table
from halocline.plugin import registry

#: Set the title of a window, erase a line, the same in eight-bit form, turn the direction of writing, ring.
COMMANDS = ("\x1b]0;owned\x07", "\x1b[2K\r", "\x9b2J", "\u202eevil", "\x07", "\x00", "\x7f", "\u2066")


def is_harmless(text):
    return all(char in "\n\t" or char == " " or char.isprintable() for char in text)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reaches_the_terminal(capsys, command):
    for write_it in (say, emit, lambda text: table(text, [text], [[text]])):
        write_it(f"a{command}b")
    for printed in capsys.readouterr():
        assert printed
        assert is_harmless(printed)
    record = logging.LogRecord("x", logging.WARNING, "", 0, "a%sb", (command,), None)
    assert is_harmless(HarmlessFormatter("%(message)s").format(record))
    Parser(description=f"a{command}b").print_help()
    assert is_harmless(capsys.readouterr().out)


def test_texts_without_commands_stay_as_they_are():
    for text in ("Å³ σ ± é", "two\nlines\tand a tab", "日本語", "a\u00a0b", ""):
        assert harmless(text) == text


@pytest.mark.parametrize("json_wanted", [True, False])
def test_cards_files_and_arguments(tmp_path, capsys, json_wanted):
    model = tmp_path / "model.safetensors"
    zoo = registry().load("zoo", "zoo")()
    checkpoint = load_checkpoint(zoo.path("lennard-jones-argon"))
    checkpoint.card["summary"] = f"good {''.join(COMMANDS)} for all"
    save_checkpoint(model, checkpoint)
    structure = tmp_path / f"a{COMMANDS[0].replace('/', '')}.extxyz"
    write(structure, Atoms("Ar"), format="extxyz")
    options = ["--json"] if json_wanted else []
    calls = (
        ["zoo", "show", f"model{COMMANDS[0]}"],
        ["run", str(structure), "-m", str(model), *options],
        ["run", f"--no-such{COMMANDS[1]}"],
        ["run", f"missing{COMMANDS[2]}"],
        ["--debug", "run", f"missing{COMMANDS[3]}"],
    )
    for call in calls:
        main(call)
        out, err = capsys.readouterr()
        assert is_harmless(out + err), call
        if "--json" in call:
            assert json.loads(out)[0]["file"] == str(structure)
