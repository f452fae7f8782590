"""The page of recipes, from the modules that read them."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from generator.markdown import GENERATED, code, table

_INTRODUCTION = """# Recipes

A recipe is a TOML file that `patchpm train` reads, and decides everything about a training run. This page lists its
keys; see [how a prefix is trained](../concepts/training.md) for what the parts are for, and
[train and publish a patch of your own](../how-to/own-patch.md) for how to go about it.

Reading is strict: an unknown key, a wrong kind of value, and settings that contradict each other or would do nothing
are errors. Files are found from the recipe's folder.

"""
_SCHEMA = "The form of the file: 2."
_TABLES = (
    ("", "The file itself", "read_recipe", "Recipe"),
    ("prefix", "The matrix to be trained.", "_prefix", "PrefixRecipe"),
    ("teacher", "Who says what is wanted on target prompts.", "_teacher", "TeacherRecipe"),
    ("sft", "The first stage. May be left out.", "_sft", "SftRecipe"),
    ("dpo", "The second stage. May be left out.", "_dpo", "DpoRecipe"),
    ("foreigners", "Company of other patches. May be left out.", "_foreigners", "ForeignersRecipe"),
    ("stop", "Dev rows and early stopping. May be left out.", "_stop", "StopRecipe"),
)
"""Name, what it is, and the function and the class that say what is in it."""
_KINDS = {
    "integer": "whole number",
    "number": "number",
    "text": "text",
    "texts": "list of texts",
    "text_or_texts": "text or list of texts",
    "flag": "true or false",
    "pairs": "table of texts",
    "pattern": "regular expression",
    "choice": "",
}
"""Methods of `Table`, and what they read."""
_ABSENT = {"flag": code("false"), "pairs": "none", "pattern": "none", "text_or_texts": "none"}
"""What those methods give that may find nothing."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    kind: str
    default: str


class _Reader:
    """The modules that read a recipe, parsed."""

    def __init__(self, package: Path) -> None:
        files = (
            "train/recipe_toml.py",
            "train/recipe.py",
            "train/base_model.py",
            "data/source.py",
            "patch/manifest.py",
        )
        trees = [ast.parse((package / file).read_text("utf-8")) for file in files]
        body = [node for tree in trees for node in tree.body]
        self._functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        self._classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
        self._constants: dict[str, object] = {}
        for node in body:
            if isinstance(node, ast.Assign):
                self._learn(node)

    def keys(self, function: str) -> list[Key]:
        """The keys that a function takes from its table, and those that it takes by other functions."""
        return list(self._keys(self._functions[function]))

    def meanings(self, name: str) -> dict[str, str]:
        """What each attribute of a class is."""
        return {
            statement.target.id: following.value.value
            for statement, following in itertools.pairwise(self._classes[name].body)
            if isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        }

    def _learn(self, node: ast.Assign) -> None:
        """Remember constants, also `A, B = "a", "b"`."""
        target, value = node.targets[0], node.value
        each = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            each = list(zip(target.elts, value.elts, strict=True))
        for name, one in each:
            if isinstance(name, ast.Name):
                found = self._value(one)
                if found is not None:
                    self._constants[name.id] = found

    def _value(self, node: ast.expr) -> object:
        """What an expression is, where it is made of constants; else None."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._constants.get(node.id)
        if isinstance(node, ast.Tuple):
            found = tuple(self._value(one) for one in node.elts)
            return None if None in found else found
        return None

    def _keys(self, function: ast.FunctionDef) -> Iterator[Key]:
        needs = {
            id(node.body): node.test
            for node in ast.walk(function)
            if isinstance(node, ast.IfExp) and isinstance(node.body, ast.Call)
        }
        calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
        for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
            if isinstance(call.func, ast.Attribute) and call.func.attr in _KINDS and call.args:
                name = self._value(call.args[0])
                if isinstance(name, str):
                    yield Key(name, self._kind(call), self._default(call, needs.get(id(call))))
            elif isinstance(call.func, ast.Name) and call.args and ast.unparse(call.args[0]) == "root":
                yield from self._keys(self._functions[call.func.id])

    def _kind(self, call: ast.Call) -> str:
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr == "choice":
            choices = self._value(call.args[1])
            assert isinstance(choices, tuple)
            return " or ".join(code(f'"{choice}"') for choice in choices)
        given = {each.arg: self._value(each.value) for each in call.keywords}
        low, high = given.get("low"), given.get("high")
        if low is None:
            return _KINDS[call.func.attr]
        return f"{_KINDS[call.func.attr]} ({f'at least {low}' if high is None else f'{low} to {high}'})"

    def _default(self, call: ast.Call, needed: ast.expr | None) -> str:
        assert isinstance(call.func, ast.Attribute)
        given: Mapping[str | None, ast.expr] = {each.arg: each.value for each in call.keywords}
        default, empty = given.get("default"), given.get("empty")
        test = default.test if isinstance(default, ast.IfExp) else empty
        if needed is not None:
            found = f"needed with {code(ast.unparse(needed))}"
        elif isinstance(test, ast.Compare):
            found = f"needed for {self._case(test)}"
        elif default is not None:
            found = code(_toml(self._value(default)))
        elif call.func.attr in _ABSENT:
            found = _ABSENT[call.func.attr]
        else:
            found = "needed" if empty is None else code("[]")
        return found

    def _case(self, test: ast.Compare) -> str:
        """The word that a comparison is about."""
        return code(str(self._value(test.comparators[0])))


def page(package: Path) -> str:
    """The whole page.

    Args:
        package: The folder `patchpm`.
    """
    reader = _Reader(package)
    parts = []
    for name, what, function, kind in _TABLES:
        heading = f"## `[{name}]`\n\n{what}\n" if name else f"## {what}\n"
        parts.append(f"{heading}\n{_rows(reader.keys(function), {**reader.meanings(kind), 'schema': _SCHEMA})}")
    keys = [*reader.keys("read_source"), *reader.keys("_source")]
    meanings = {**reader.meanings("Source"), **reader.meanings("TrainSource")}
    parts.append(f"## `[[source]]`\n\nOne set of rows; there are several.\n\n{_rows(keys, meanings)}")
    return GENERATED + _INTRODUCTION + "\n".join(parts)


def _rows(keys: list[Key], meanings: Mapping[str, str]) -> str:
    return table(
        ("key", "kind", "default", "meaning"),
        ((code(key.name), key.kind, key.default, meanings[key.name]) for key in keys),
    )


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
