"""Every key of a recipe times every odd value: an error that names the key, or a fit that could begin."""

import datetime
import os
import tomllib
from pathlib import Path

import pytest

from halocline.errors import HaloclineError, UsageError
from halocline.training.problem import prepare
from halocline.training.recipe import (
    DataSettings,
    SplitSettings,
    TrainingSettings,
    make_recipe,
    read_recipe,
)
from halocline.training.recipe.file import LARGEST_FILE
from halocline.training.result import refuse_unwritable

KEYS = {
    "data": [
        "files",
        "energy_key",
        "forces_key",
        "stress_key",
        "split",
        "train_files",
        "validation_files",
        "test_files",
        "unlabelled_files",
    ],
    "data.split": ["seed", "train", "validation", "test", "duplicates"],
    "model": ["backbone", "from", "head", "energies_of_atoms", "prune", "new_elements", "config"],
    "model.adapters": ["rank", "alpha", "full"],
    "model.config": ["features", "gaussians", "layers", "cutoff", "species", "neighbours", "nearest_count"],
    "training": list(TrainingSettings.__dataclass_fields__),
    "distillation": ["teacher", "head", "energy_weight", "forces_weight", "on", "align"],
    "log": ["tensorboard", "wandb", "plots"],
    "card": ["name", "summary", "citation", "licence", "errors", "recipe", "units", "neighbours", "notes"],
}
ODD = [
    *("1" + "0" * 400, "-1" + "0" * 400, "9223372036854775807", "-9223372036854775808", "0", "-1", "3"),
    *("nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "0.5", "true", "false"),
    *('""', '" "', '"x"', '"\\u0000"', '"~nosuchuser/a"', '"${NO_SUCH_VARIABLE}"', '"\\u202e"'),
    *("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "1979-05-27T07:32:00"),
    *("[]", "[[]]", "[[[1]]]", '[""]', '["."]', '["\\u0000"]', '["~nosuchuser/a"]', '["$NO_SUCH_VARIABLE"]'),
    *('["absent"]', '["pipe"]', "[1]", "[true]", "[1979-05-27]", '["Xx"]', '["h"]', '["H", "H"]', '["Ar", "Ar"]'),
    *("{}", "{a = 1}", "{a = 1979-05-27}", "{a = {b = nan}}", "[{a = 1}]", "[{a = 1}, {a = 2}]"),
]
#: Tables that the recipe of the tests lacks, with what else they need.
MISSING = {"model.adapters": {"rank": "2"}, "distillation": {"teacher": '"lennard-jones-argon"'}, "log": {}}
#: Values that only Python has.
FOREIGN = [None, 2**70, 10**5000, 1.5, "\ud800", b"x", {1: 2}, [None], {"a": {1}}, object()]
#: Words of the message that stand for a key, where a rule is about several.
ALSO_SAID = {
    "forces_weight": "energy_weight",
    "energy_weight": "forces_weight",
    "stress_weight": "carries stress",
}


def outcome(call):
    """What a call gives, and what our error says; any other error is a failure."""
    try:
        return call(), ""
    except HaloclineError as error:
        return None, str(error)


@pytest.fixture
def with_pipe(folder):
    """A pipe is among the data: whoever opens it waits for ever."""
    os.mkfifo(folder / "pipe")
    return folder


def replaced(text, table, key, value):
    """The recipe with another value under one key, which may be a table."""
    lines, current, dropped = [], "", False
    for line in text.splitlines():
        if line.startswith("["):
            current = line.strip("[]")
            dropped = current == f"{table}.{key}" or current.startswith(f"{table}.{key}.")
        if not (dropped or (current == table and line.startswith(f"{key} = "))):
            lines.append(line)
        if line == f"[{table}]":
            lines.append(f"{key} = {value}")
    if table in MISSING:
        given = MISSING[table] | {key: value}
        lines += [f"[{table}]", *(f"{name} = {each}" for name, each in given.items())]
    return "\n".join(lines)


@pytest.mark.parametrize(("table", "key"), [(table, key) for table, keys in KEYS.items() for key in keys])
def test_an_odd_value_is_refused_by_key_or_begins(with_pipe, table, key, monkeypatch):
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    path = with_pipe / "recipe.toml"
    text = path.read_text()
    for value in ODD:
        path.write_text(replaced(text, table, key, value))
        recipe, said = outcome(lambda: read_recipe(path))
        if recipe is None:
            assert said.startswith(str(path))
            assert key in said or ALSO_SAID.get(key, "\0") in said, (value, said)
            continue
        _, said = outcome(lambda recipe=recipe: refuse_unwritable(prepare(recipe, with_pipe)))
        assert not said or key in said or ALSO_SAID.get(key, "\0") in said, (value, said)


@pytest.mark.parametrize("number", range(len(FOREIGN)))
@pytest.mark.parametrize("table", KEYS)
def test_an_odd_value_from_python_is_refused_by_key(folder, table, number):
    for key in KEYS[table]:
        values = tomllib.loads(replaced((folder / "recipe.toml").read_text(), table, key, "0"))
        place = values
        for part in table.split("."):
            place = place[part]
        place[key] = FOREIGN[number]
        _, said = outcome(lambda values=values: prepare(make_recipe(values), folder))
        assert not said or key in said or ALSO_SAID.get(key, "\0") in said, (key, said)


def test_settings_made_in_python_are_held_to_their_types():
    for make in (
        lambda: SplitSettings(seed=True, train=8),
        lambda: DataSettings(train_files="argon.extxyz"),
        lambda: TrainingSettings(epochs=2.5),
        lambda: TrainingSettings(epochs=2, learning_rate="1"),
        lambda: TrainingSettings(epochs=2, energy_weight=1e300),
        lambda: SplitSettings(seed=datetime.date(2000, 1, 1), train=8),
    ):
        with pytest.raises(UsageError, match=r"(data|data\.split|training)\.\w+ must be"):
            make()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe[data]", "not UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "thousands of digits"),
        (b"[data]\n[data]", "is not TOML"),
        (b"[data]\nfiles = []\nfiles = []", "is not TOML"),
        (b"", "lacks data"),
        (b"#" * (LARGEST_FILE + 1), "at most"),
        (b"[card]\n" + b"a." * 500 + b"a = 1", "field of a model card"),
        (b"[card]\nname." + b"a." * 5000 + b"a = 1", "lacks|name"),
    ],
)
def test_a_damaged_recipe_is_refused_by_name(folder, data, message):
    path = folder / "recipe.toml"
    text = path.read_bytes() if b"[card]" in data else b""
    path.write_bytes(text.partition(b"[card]")[0] + data)
    with pytest.raises(HaloclineError, match=message) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def test_a_recipe_that_is_no_file_is_refused(with_pipe):
    for name in ("pipe", ".", "absent.toml", "\0"):
        with pytest.raises(UsageError, match=r"A recipe is a file of TOML, but"):
            read_recipe(with_pipe / name)


def test_a_byte_order_mark_is_passed_over(folder):
    path = folder / "recipe.toml"
    expected = read_recipe(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_recipe(path) == expected


@pytest.mark.parametrize("layers", [10**6, 2**62])
def test_a_model_that_nobody_could_train_is_refused_before_it_is_built(edit_recipe, layers):
    path = edit_recipe("layers = 1", f"layers = {layers}")
    with pytest.raises(HaloclineError, match="make it smaller"):
        prepare(read_recipe(path), path.parent)


@pytest.mark.parametrize("name", ["fine_tune", "distil"])
def test_an_example_is_a_recipe(name):
    assert read_recipe(Path(__file__).parents[2] / "examples" / f"{name}.toml").model.prune == 2
