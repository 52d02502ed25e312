"""The sizes of classes, their names, and what tests may touch: the rules that keep the code easy to find one's way in."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src" / "cachesync"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted(
    path for folder in ("unit", "property", "contract") for path in (PROJECT / "tests" / folder).glob("*.py")
)
MOST_METHODS = 15
MOST_FIELDS = 12
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields"}


def classes(module: Path) -> Iterator[tuple[ast.ClassDef, list[str]]]:
    """Yield the classes of a module, and the lines of it."""
    text = module.read_text()
    yield from ((node, text.splitlines()) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef))


def comment_above(found: ast.ClassDef, lines: list[str]) -> str:
    """Return the comment directly above a class and its decorators."""
    first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)]) - 1
    start = first
    while lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return "\n".join(line.strip() for line in lines[start:first])


def fields(found: ast.ClassDef) -> set[str]:
    """Return the attributes that a class declares, or assigns to ``self``."""
    declared = {
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assigned = {
        node.attr
        for method in found.body
        if isinstance(method, FUNCTIONS)
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    return declared | assigned


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_large_classes_say_why(module: Path) -> None:
    for found, lines in classes(module):
        methods = [node for node in found.body if isinstance(node, FUNCTIONS)]
        reasons = comment_above(found, lines)
        for number, most, mark in (
            (len(methods), MOST_METHODS, "# Many methods: "),
            (len(fields(found)), MOST_FIELDS, "# Many fields: "),
        ):
            assert (number > most) == (mark in reasons), f"{found.name} has {number}, and above it stands: {reasons!r}"


def test_no_two_modules_have_a_class_of_one_name() -> None:
    names = Counter(found.name for module in MODULES for found, _ in classes(module))
    assert [name for name, times in names.items() if times > 1] == []


def private_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield what a test takes from another module or object although its name begins with an underscore."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        ):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setattr":
            texts = (each.value for each in node.args if isinstance(each, ast.Constant))
            yield from ((node.lineno, text.rpartition(".")[2]) for text in texts if isinstance(text, str))


@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.name)
def test_tests_touch_nothing_private(file: Path) -> None:
    found = [
        f"line {line}: {name}"
        for line, name in private_names(ast.parse(file.read_text()))
        if re.match(r"_[^_]", name) and name not in OF_NAMED_TUPLES
    ]
    assert found == []
