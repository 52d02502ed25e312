"""The browser that tests of the page use notices what it promises to notice, and leaves nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from playwright.sync_api import Error, expect

from tests.support import browser
from tests.support.browser import Chromium, Tab
from tests.support.checkout import PROJECT
from tests.support.hostile_strings import ELEMENTS
from tests.support.service import until
from tests.support.serving import serving

_SCRIPT: Final = """
    const input = document.querySelector('input')
    input.addEventListener('input', () => { document.querySelector('output').textContent = input.value })
    document.querySelector('button').addEventListener('click', () => navigator.clipboard.writeText(input.value))
"""

_FORM: Final = """
    <style>:root { color-scheme: light dark; background: canvas }</style>
    <input aria-label=Name> <button>Copy</button> <output></output> <noscript>None</noscript>
    <a href="?more">More</a> <script src="script.js"></script>
"""


class Site:
    """A server of one page, which is written by the tests. It isn't careful."""

    def __init__(self) -> None:
        self.body = ""
        self.policy = "default-src * 'unsafe-inline' data:"
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/base/script.js":
                    self._answer(200, "text/javascript", _SCRIPT)
                elif self.path.partition("?")[0] == "/base/":
                    page = f"<!doctype html><html lang=en><title>Test</title><main><h1>Test</h1>{site.body}</main>"
                    self._answer(200, "text/html; charset=utf-8", page)
                elif self.path == "/favicon.ico":
                    self._answer(200, "image/svg+xml", "")
                else:
                    self._answer(404, "text/plain", "")

            def _answer(self, status: int, type: str, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", type)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", site.policy)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/base"


@pytest.fixture
def site() -> Iterator[Site]:
    one = Site()
    with serving(one.server):
        yield one


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<script>console.error('that', 1)</script>", "console error: that 1"),
        ("<script>throw new Error('that')</script>", "page error: that"),
        ("<script>Promise.reject(new Error('that'))</script>", "page error: that"),
        ("<script>confirm('that')</script>", "dialog: confirm: that"),
        ("<script>window.cachesyncXss = 1</script>", "console error: cachesync-xss"),
        ("<img src=missing.png alt>", "console error: .* 404 .*missing.png"),
        ("<img src=http://example.org/x.png alt>", "console error: .*ERR_NAME_NOT_RESOLVED.*example.org"),
        ("<script>open('').alert('that')</script>", "dialog: alert: that"),
    ],
)
def test_a_fault_fails_a_test(chromium: Chromium, site: Site, body: str, fault: str) -> None:
    site.body = body
    with pytest.raises(AssertionError, match=fault) as failed, chromium.tab(site.url) as tab:
        tab.page.goto("")
    assert f"Chromium {chromium.version} at {site.url}/" in failed.value.__notes__[0]


@pytest.mark.parametrize("scripts", [True, False])
def test_what_the_policy_forbids_is_a_fault(chromium: Chromium, site: Site, scripts: bool) -> None:
    site.policy = "default-src 'none'"
    site.body = "<b style=color:red>that</b>"
    with pytest.raises(AssertionError) as failed, chromium.tab(site.url, scripts=scripts) as tab:
        tab.page.goto("")
    (note,) = failed.value.__notes__
    assert re.search("console error: .*Content Security Policy", note)
    assert ("CSP violation: style-src-attr blocked inline" in note) == scripts


def test_a_test_that_fails_of_something_else_tells_of_faults_too(chromium: Chromium, site: Site) -> None:
    with pytest.raises(Error, match="missing is not defined") as failed, chromium.tab(site.url) as tab:
        tab.page.evaluate("console.error('that'); missing")
    assert failed.value.__notes__ == [f"in Chromium {chromium.version} at about:blank\nconsole error: that"]


def test_faults_can_be_expected(chromium: Chromium, site: Site) -> None:
    site.body = "<script>console.error('this', location.search)</script>"
    with chromium.tab(site.url) as tab:
        for _ in range(2):
            with tab.expected("this .2"):
                tab.page.goto("?2")
        with pytest.raises(AssertionError, match=r"'that'.*this"), tab.expected("that"):
            tab.page.goto("?3")
        assert [each.partition(" (")[0] for each in tab.faults] == ["console error: this ?3"]
        tab.faults.clear()


def test_a_page_without_faults(chromium: Chromium, site: Site) -> None:
    site.body = _FORM
    site.policy = "default-src 'self'; style-src 'unsafe-inline'; require-trusted-types-for 'script'"
    with chromium.tab(site.url, width=360, scheme="dark", moves=False) as tab:
        tab.page.goto("?first")
        tab.page.get_by_label("Name").press_sequentially("hdf5")
        expect(tab.page.locator("output")).to_have_text("hdf5")
        tab.page.get_by_role("button").click()
        assert tab.clipboard() == "hdf5"
        tab.page.get_by_text("More").click()
        expect(tab.page).to_have_url(f"{site.url}/?more")
        tab.page.go_back()
        expect(tab.page).to_have_url(f"{site.url}/?first")
        media = ["(width: 360px)", "(prefers-color-scheme: dark)", "(prefers-reduced-motion: reduce)"]
        assert tab.page.evaluate("media => media.map(each => matchMedia(each).matches)", media) == [True] * 3
        assert tab.axe() == []


def test_a_page_whose_scripts_do_not_run(chromium: Chromium, site: Site) -> None:
    site.body = f"{_FORM}<img src=data:,>"
    with chromium.tab(site.url, scripts=False) as tab:
        for _ in range(2):
            tab.page.goto("")
            tab.page.get_by_label("Name").fill("hdf5")
            expect(tab.page.locator("noscript")).to_be_visible()
            (line,) = tab.axe()
            assert line.startswith("critical: image-alt: img: ")
        assert tab.page.locator("output").text_content() == ""


def test_what_axe_finds_is_told_element_by_element(chromium: Chromium, site: Site) -> None:
    site.body = """
        <p style="color: #ccc; background: #fff">one</p> <p style="color: #ddd; background: #fff">two</p>
        <p style="color: #fff; background: linear-gradient(#000, #fff)">three</p> <h6>four</h6>
        <button style="width: 9px; padding: 0">+</button><button style="width: 9px; padding: 0">-</button>
    """
    with chromium.tab(site.url) as tab:
        tab.page.goto("")
        lines = tab.axe()
        assert [line.split(": ")[:3] for line in lines] == [
            ["serious", "color-contrast", "p:nth-child(2)"],
            ["serious", "color-contrast", "p:nth-child(3)"],
            ["serious", "target-size", "button:nth-child(6)"],
            ["serious", "target-size", "button:nth-child(7)"],
        ]
        assert "insufficient color contrast of 1.6" in lines[0]
        undecided = [line for line in tab.axe(undecided=True) if line not in lines]
        assert [line.split(": ")[:3] for line in undecided] == [["serious", "color-contrast", "p:nth-child(4)"]]


def test_hostile_elements_run_in_a_page_that_takes_them_for_markup(chromium: Chromium, site: Site) -> None:
    with chromium.tab(site.url) as tab:
        for each in ELEMENTS:
            site.body = each
            tab.page.goto("")
            until(lambda: _ran(tab), f"{each} to run")
            tab.page.goto("about:blank")
            tab.settle()
            tab.faults.clear()


def _ran(tab: Tab) -> bool:
    tab.settle()
    return any(each.startswith(("dialog: alert: 127.0.0.1", "console error: cachesync-xss")) for each in tab.faults)


@pytest.mark.parametrize(("needed", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_without_a_browser(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, needed: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CACHESYNC_TEST_NEEDS_BROWSER", needed)
    with pytest.raises(outcome, match="there is no chromium"), browser.started():
        pass


@pytest.mark.usefixtures("chromium")
def test_nothing_is_left_of_a_run_that_is_killed() -> None:
    script = """
        import signal
        from tests.support import browser
        with browser.started() as chromium, chromium.tab("http://127.0.0.1"):
            print("begun", flush=True)
            signal.pause()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with (
        TemporaryDirectory(prefix="kill-") as folder,  # a socket's path has a hundred characters and no more
        subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as running,
    ):
        try:
            assert running.stdout
            assert running.stdout.readline() == "begun\n"
            assert len(_processes(folder)) > 4
        finally:
            os.killpg(running.pid, signal.SIGKILL)
        until(lambda: not _processes(folder), lambda: f"these to end: {_processes(folder)}")
        until(lambda: not os.listdir(folder), lambda: f"these to be removed: {os.listdir(folder)}")


def _processes(folder: str) -> list[str]:
    """Return the commands of the processes that have to do with a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            command, variables = ((process / name).read_bytes() for name in ("cmdline", "environ"))
            if os.fsencode(folder) in command + variables:
                found.append(command.decode(errors="replace"))
    return found
