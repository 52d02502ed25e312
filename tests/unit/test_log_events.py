"""The log: each line that cachesync may write stands in the documentation, with its level and its fields."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import cachesync

SOURCE = Path(cachesync.__file__).parent
DOCUMENTED = Path(__file__).parents[2] / "docs/log.md"
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}


class Event(NamedTuple):
    action: str
    level: str
    text: str
    fields: frozenset[str]
    """Those that it may have."""
    open: bool
    """It may have others, whose names aren't in the source."""


def events_in(tree: ast.AST, module: ModuleType) -> Iterator[Event]:
    """All events that a module logs. One whose text isn't a constant is an error: nobody could look it up."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"), attr=method), args=[said, *_]):
                keywords = {each.arg: each.value for each in node.keywords}
                action = keywords.pop("action", None)
                assert isinstance(action, ast.Constant), f"{module.__name__}, line {node.lineno}: expected an action"
                names = {name for name in keywords if name} - {"exc_info"}  # which the logger turns into `exception`
                if method == "exception":
                    names.add("exception")
                text = text_of(said, module)
                yield Event(str(action.value), LEVELS[method], text, frozenset(names), None in keywords)


def text_of(said: ast.expr, module: ModuleType) -> str:
    match said:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return str(getattr(module, name))
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return str(getattr(getattr(module, owner), name))
    raise AssertionError(f"{module.__name__}, line {said.lineno}: an event's text must be a constant")


def real_events() -> dict[tuple[str, str, str], Event]:
    """All events of the source by action, level and text. What is said at several places has the fields of all of them."""
    found: dict[tuple[str, str, str], Event] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_bytes())
        if "_log = get_logger()" not in file.read_text():
            continue
        module = importlib.import_module(".".join(("cachesync", *file.relative_to(SOURCE).with_suffix("").parts)))
        for event in events_in(tree, module):
            same = found.get(event[:3], event)
            found[event[:3]] = event._replace(fields=event.fields | same.fields, open=event.open or same.open)
    return found


def documented_events() -> dict[tuple[str, str, str], tuple[frozenset[str], str]]:
    """Fields and advice by action, level and text, as the table has them."""
    found: dict[tuple[str, str, str], tuple[frozenset[str], str]] = {}
    for line in DOCUMENTED.read_text().splitlines():
        match [cell.strip() for cell in line.strip("|").split("|")]:
            case [action, text, ("debug" | "info" | "warning" | "error" | "critical") as level, fields, advice]:
                key = action.strip("`"), level, text
                assert key not in found, f"twice: {text}"
                found[key] = (frozenset(re.findall(r"`(\w+)`", fields)), advice)
    return found


def test_every_event_is_documented_and_no_other() -> None:
    assert sorted(documented_events()) == sorted(real_events())


def test_the_fields_of_every_event_are_documented() -> None:
    documented = {key: fields for key, (fields, _) in documented_events().items()}
    wrong = {
        event.text: (sorted(event.fields), sorted(documented[key]))
        for key, event in real_events().items()
        if key in documented
        and not (event.fields <= documented[key] if event.open else event.fields == documented[key])
    }
    assert not wrong


def test_every_event_says_what_to_do() -> None:
    assert not [text for (_, _, text), (_, advice) in documented_events().items() if len(advice) < 5]


def test_actions_are_an_object_and_what_happened_to_it() -> None:
    actions = {action for action, _, _ in real_events()}
    assert not [action for action in actions if not re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", action)]
    assert {"sync.completed", "job.failed", "reindex.completed", "watcher.degraded"} <= actions


def test_nothing_logs_in_another_way() -> None:
    """The events are found by calls of the logger's methods, and by its name."""
    for file in SOURCE.rglob("*.py"):
        text = file.read_text()
        made = set(re.findall(r"^.*\bget_logger\(\).*$", text, re.MULTILINE))
        assert file == SOURCE / "log.py" or made <= {"_log = get_logger()"}, file
        nodes = list(ast.walk(ast.parse(text)))
        uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == "_log"]
        calls = [node for node in nodes if re.match(rf"_log\.({'|'.join(LEVELS)})\(", ast.unparse(node))]
        calls = [node for node in calls if isinstance(node, ast.Call)]
        assert len(uses) == len(calls) + len(made & {"_log = get_logger()"}), file


def test_an_event_that_is_put_together_is_refused() -> None:
    tree = ast.parse("_log.info(f'{x} is gone', action='page.gone')")
    with pytest.raises(AssertionError, match="must be a constant"):
        list(events_in(tree, importlib.import_module("cachesync.log")))
