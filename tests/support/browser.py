"""A real browser for tests of the page, which fails a test for whatever the browser complains of meanwhile.

Debian's Chromium, driven by Playwright. It reaches nothing but this machine, whatever a page asks for.

    def test_a_ticked_box_narrows_the_hits(chromium: Chromium, service: Service) -> None:
        with chromium.tab(service.url, width=360, scheme="dark") as tab:
            tab.page.goto("?q=hdf5")
            tab.page.locator("[data-facet=target] input[value=zen4]").check()
            expect(tab.page.locator("[data-total]")).to_have_text("3")
            assert not tab.axe()
            with tab.expected("400"):
                tab.page.goto("?q=@@")
"""

import contextlib
import importlib.resources
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, WebError, expect, sync_playwright

from tests.support.guardian import guarded
from tests.support.hostile_strings import PROPERTY, TOLD

_NEEDED: Final = "CACHESYNC_TEST_NEEDS_BROWSER"

_PATIENCE_MS: Final = 30_000
"""How long an expectation of Playwright's waits, which is as long as all else in it does."""

_ARGUMENTS: Final = [
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
"""Let no page reach another machine."""

_LISTENING: Final = f"""
    addEventListener(
        'securitypolicyviolation',
        event => cachesyncViolation(`${{event.effectiveDirective}} blocked ${{event.blockedURI || 'this'}}`),
        true,
    )
    Object.defineProperty(window, '{PROPERTY}', {{ set() {{ console.error('{TOLD}') }} }})
"""
"""Runs in each document before its own scripts."""

_IDLE: Final = "() => scheduler.postTask(() => true, { priority: 'background' })"
"""Is true once a document has nothing else to do."""

_RUN_AXE: Final = "axe.run(document, { rules: { 'target-size': { enabled: true } } })"

_GRAVE: Final = ("serious", "critical")


class Tab:
    """A page in a context of its own: nobody else's cookies, storage or history."""

    def __init__(self, context: BrowserContext, *, has_scripts: bool) -> None:
        """Open an empty page in ``context``; ``has_scripts`` tells whether those of pages run."""
        self.context = context
        self._has_scripts = has_scripts
        self.faults: list[str] = []
        """What the browser has complained of and no test has expected, a line each; see :meth:`settle`."""
        context.on("console", self._heard)
        context.on("weberror", self._thrown)
        context.on("dialog", self._asked)
        context.on("page", self._opened)
        context.expose_binding("cachesyncViolation", self._violated)
        context.add_init_script(_LISTENING)
        self.page = context.new_page()

    def settle(self) -> None:
        """Wait until what has happened in the page is in ``faults``, as far as it is the doing of what is done."""
        for page in self.context.pages:
            if self._has_scripts:
                page.wait_for_function(_IDLE)
            else:
                page.evaluate("1")

    def check(self) -> None:
        """Fail where there are faults by now. It is done at the end of each tab."""
        self.settle()
        assert not self.faults, f"the browser complains of {len(self.faults)} faults, such as {self.faults[0]}"

    @contextlib.contextmanager
    def expected(self, fault: str) -> Iterator[None]:
        """Expect faults, one at least, in which this regular expression is found: they are none then."""
        self.settle()
        before = len(self.faults)
        yield
        self.settle()
        others = [each for each in self.faults[before:] if not re.search(fault, each)]
        assert len(others) < len(self.faults) - before, f"the browser doesn't complain of {fault!r}, but of {others}"
        self.faults[before:] = others

    def axe(self, *, undecided: bool = False) -> list[str]:
        """Return what axe-core finds serious or critical of the page as it is now, a line for each element.

        ``undecided``: with what it can't tell and leaves to people.
        """
        with self._scripts_run():
            self.page.evaluate(_axe_core())
            found = self.page.evaluate(_RUN_AXE)
        rules = [*found["violations"], *(found["incomplete"] if undecided else [])]
        return [_line(rule, node) for rule in rules for node in rule["nodes"] if node["impact"] in _GRAVE]

    def clipboard(self) -> str:
        """Return the text that was copied last."""
        text: str = self.page.evaluate("navigator.clipboard.readText()")
        return text

    @contextlib.contextmanager
    def _scripts_run(self) -> Iterator[None]:
        """Let scripts run meanwhile. Those of a page whose time has passed stay as they are."""
        if self._has_scripts:
            yield
            return
        session = self.context.new_cdp_session(self.page)
        for disabled in (True, False):  # what is false already in a session isn't set
            session.send("Emulation.setScriptExecutionDisabled", {"value": disabled})
        yield
        session.send("Emulation.setScriptExecutionDisabled", {"value": True})

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("assert", "error"):
            where = message.location["url"]
            self.faults.append(f"console error: {message.text}{where and f' ({where})'}")

    def _thrown(self, error: WebError) -> None:
        self.faults.append(f"page error: {error.error}")

    def _asked(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.type}: {dialog.message}")
        dialog.dismiss()

    def _opened(self, page: Page) -> None:
        page.on("crash", lambda _: self.faults.append("crash"))

    def _violated(self, _: object, what: str) -> None:
        self.faults.append(f"CSP violation: {what}")


class Chromium:
    """A browser that runs, without a window."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @property
    def version(self) -> str:
        return self._browser.version

    @contextlib.contextmanager
    def tab(
        self,
        site: str,
        *,
        width: int = 1280,
        height: int = 800,
        scheme: Literal["light", "dark"] = "light",
        moves: bool = True,
        scripts: bool = True,
        trusts: bool = False,
    ) -> Iterator[Tab]:
        """Lend a tab whose addresses are relative to ``site``, for as long as the block lasts.

        ``moves``: its user hasn't asked for less motion; ``trusts``: whatever certificate a site has will do. The test fails at the end of the block if there are faults;
        whatever it fails of, they are noted, with the browser's version and the address.
        """
        context = self._browser.new_context(
            base_url=f"{site.rstrip('/')}/",
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="no-preference" if moves else "reduce",
            java_script_enabled=scripts,
            ignore_https_errors=trusts,
            permissions=["clipboard-read", "clipboard-write"],
            locale="en-GB",
            timezone_id="UTC",
        )
        with context:
            tab = Tab(context, has_scripts=scripts)
            try:
                yield tab
                tab.check()
            except BaseException as error:
                error.add_note("\n".join([f"in Chromium {self.version} at {tab.page.url}", *tab.faults]))
                raise


@contextlib.contextmanager
def started() -> Iterator[Chromium]:
    """Start a browser for as long as the block lasts; without one, a test is skipped, or fails where one was asked for.

    Playwright has an event loop in this thread meanwhile, so nothing else can run one in it.
    """
    program = shutil.which("chromium")
    if not program:
        (pytest.fail if os.environ.get(_NEEDED) else pytest.skip)("there is no chromium (Debian has it in chromium)")
    expect.set_options(timeout=_PATIENCE_MS)
    with guarded() as folder:
        with pytest.MonkeyPatch.context() as variables:
            for name in ("HOME", "TMPDIR"):  # what a browser leaves that is killed goes with the folder
                variables.setenv(name, str(folder))
            driver = sync_playwright().start()
        try:
            with driver.chromium.launch(executable_path=program, args=_ARGUMENTS) as browser:
                yield Chromium(browser)
        finally:
            driver.stop()


def _axe_core() -> str:
    """Return the script of axe-core, of which a package for Python has a copy."""
    return (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def _line(rule: Any, node: Any) -> str:
    """Say what a rule of axe's has against one element."""
    reasons = "; ".join(each["message"] for each in [*node["any"], *node["all"], *node["none"]])
    return f"{node['impact']}: {rule['id']}: {' '.join(map(str, node['target']))}: {reasons}"
