"""At its end a run of the hostile tests tells how often each attack was tried."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.hostile.tally import TALLY

_TALLIED = "tallied"


@pytest.fixture(autouse=True)
def tallied(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Tell of what one test tries, whichever process runs it."""
    before = TALLY.copy()
    yield
    record_property(_TALLIED, dict(TALLY - before))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []):
                if name == _TALLIED and report.when == "teardown":
                    total.update(value)
    if total:
        terminalreporter.section("how often each attack was tried")
        for name in sorted(total):
            terminalreporter.write_line(f"{total[name]:8,}  {name}")
