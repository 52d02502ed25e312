"""Log lines: one line each, in names that others know, whatever is in them."""

import io
import json
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from cachesync import __version__
from cachesync.log import as_json, get_logger, pass_context, relay, setup

NASTY = "a\x1b[2J\nb\r\u2028\udcff"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_json_line_has_elastics_names(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "json")
    get_logger().warning(
        "starting anew", action="sync.restarted", reason="it is gone", generation="spack-specs-7", pages=3
    )
    (line,) = logged(capsys)
    time = line.pop("@timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert datetime.fromisoformat(time).utcoffset() == timedelta(0)
    assert line == {
        "log.level": "warning",
        "message": "starting anew",
        "ecs.version": "8.11.0",
        "service.name": "cachesync",
        "service.version": __version__,
        "process.pid": os.getpid(),
        "event.dataset": "cachesync.log",
        "event.action": "sync.restarted",
        "host.name": socket.gethostname(),
        "error.message": "it is gone",
        "cachesync.generation": "spack-specs-7",
        "cachesync.pages": 3,
    }


def test_auto_is_json_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "auto")
    get_logger().info("here")
    assert logged(capsys)[0]["message"] == "here"


def test_auto_is_for_people_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    setup("info", "auto")
    get_logger().info("the pages are read", pages=7, took="1 minute", nothing="")
    assert re.fullmatch(
        r'\d\d:\d\d:\d\d info    the pages are read pages=7 took="1 minute" nothing=""\n', terminal.getvalue()
    )


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_is_below_the_level_is_left_out(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    setup("warning", form)
    get_logger().info("quiet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "value",
    [
        NASTY,
        NASTY.encode("utf-8", "surrogateescape"),
        [NASTY],
        {NASTY: 1},
        float("nan"),
        float("inf"),
        ValueError(NASTY),
        2**80,
    ],
)
def test_anything_is_one_line_of_json(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "json")
    get_logger().info(NASTY, value=value, error=value)
    text = capsys.readouterr().err
    assert text.isascii()
    assert text.count("\n") == 1
    line = json.loads(text, parse_constant=pytest.fail)
    assert set(line) >= {"cachesync.value", "error.message"}
    json.dumps(line, ensure_ascii=False).encode()


def test_both_a_reason_and_an_error_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "json")
    get_logger().info("no", reason="first", error="second")
    (line,) = logged(capsys)
    assert (line["error.message"], line["cachesync.error"]) == ("first", "second")


@pytest.mark.parametrize("value", [NASTY, NASTY.encode("utf-8", "surrogateescape"), {NASTY: NASTY}])
def test_nothing_plays_with_the_terminal(value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "console")
    get_logger().info(NASTY, page=value)
    text = capsys.readouterr().err
    assert text.endswith("\n")
    assert text[:-1].isprintable()


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_brings_its_traceback(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", form)
    try:
        int(NASTY)
    except ValueError:
        get_logger().exception("that was unexpected")
    text = capsys.readouterr().err
    assert "\x1b" not in text
    if form == "json":
        (line,) = text.splitlines()
        assert "ValueError" in json.loads(line)["error.stack_trace"]
        assert json.loads(line)["log.level"] == "error"
    else:
        first, *others = text.splitlines()
        assert "that was unexpected" in first
        assert any("ValueError" in other for other in others)


def test_the_lines_of_a_pass_have_one_id_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "json")
    for kind in ("rescan", "events"):
        with pass_context(kind):
            get_logger().info("one")
            get_logger().info("two")
    get_logger().info("after")
    lines = logged(capsys)
    ids = [line.get("trace.id") for line in lines]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert re.fullmatch(r"[0-9a-f]{32}", ids[0] or "")
    assert [line.get("cachesync.pass") for line in lines] == ["rescan", "rescan", "events", "events", None]
    assert ids[4] is None


def test_a_library_tells_errors_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "json")
    relay("cachesync-test-library")
    library = logging.getLogger("cachesync-test-library")
    library.warning("chatter")
    try:
        os.stat("/gone")
    except OSError:
        library.exception("it %s\n", "broke")
    (line,) = logged(capsys)
    assert (line["message"], line["log.level"], line["log.logger"]) == ("it broke", "error", "cachesync-test-library")
    assert line["event.action"] == "library.failed"
    assert "FileNotFoundError" in line["error.stack_trace"]


@pytest.mark.parametrize("error", [OSError("no space left"), BrokenPipeError(), ValueError("closed")])
def test_a_line_that_cant_be_written_ends_nothing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise error

    monkeypatch.setattr(sys, "stderr", Full())
    setup("info", "json")
    get_logger().info("lost")
    monkeypatch.undo()


def test_threads_dont_mix_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    setup("info", "json")
    threads = [threading.Thread(target=lambda: [get_logger().info("x" * 5000) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line["message"] for line in logged(capsys)] == ["x" * 5000] * 80


def test_json_tells_also_what_is_not_utf_8() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    assert json.loads(as_json({"é\udcff": [NASTY, 1, None, when], "so": True})) == {
        "é\\udcff": ["a\x1b[2J\nb\r\u2028\\udcff", 1, None, "2026-01-02T00:00:00Z"],
        "so": True,
    }
