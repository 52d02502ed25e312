"""How much a sync may lose: an emptied or unmounted root must not empty the index."""

from collections import Counter
from collections.abc import Callable, Iterable

from cachesync.ledger import PageRecord
from cachesync.sync.report import Report


def question(command: str = "sync") -> str:
    """Ask what a loss is most often due to, and only then say by which command a person consents to it."""
    return (
        "Is pages.root mounted and complete? Do pages.include and pages.exclude say what they should? "
        f"If this is meant: cachesync {command} --allow-mass-delete"
    )


class Loss:
    """Counts the specs that a pass would lose.

    Lost is, summed over the pages, how many specs fewer a page has than before. A page that is found again under
    another name (the same bytes elsewhere) isn't lost.
    """

    def __init__(self, gone: Iterable[PageRecord]) -> None:
        self._gone: dict[str, dict[str, int]] = {}
        self._moved: Counter[str] = Counter()
        self._shrunk = 0
        for record in gone:
            self._gone.setdefault(record.digest or "", {})[record.page] = record.specs

    def shrunk(self, by: int) -> None:
        """A page has ``by`` specs fewer than before."""
        self._shrunk += by

    def averted(self, record: PageRecord | None, shrunk: int | None) -> None:
        """A page that was counted keeps its specs for now; ``shrunk`` is by how many it was, None: it was gone."""
        if shrunk is not None:
            self._shrunk -= shrunk
        elif record:
            self._gone.get(record.digest or "", {}).pop(record.page, None)

    def appeared(self, digest: str) -> None:
        """A page that the ledger didn't know has this content."""
        self._moved[digest] += 1

    def total(self) -> int:
        """Return how many specs are lost as far as the pass has seen."""
        moved = self._moved
        return self._shrunk + sum(sum([*specs.values()][moved[digest] :]) for digest, specs in self._gone.items())


def loss_between(before: Iterable[PageRecord], after: Iterable[PageRecord]) -> Loss:
    """Count what is lost where one ledger takes the place of another."""
    now = {record.page: (record.specs, record.digest) for record in after}
    gone = []
    shrunk = 0
    for record in before:
        specs, _ = now.pop(record.page, (None, None))
        if specs is None:
            gone.append(record)
        else:
            shrunk += max(0, record.specs - specs)
    loss = Loss(gone)
    loss.shrunk(shrunk)
    for _, digest in now.values():
        if digest:
            loss.appeared(digest)
    return loss


Consent = Callable[[], bool]
"""Tells whether a person who is there at this moment means any loss."""


def no_consent() -> bool:
    """Tell that nobody has consented."""
    return False


class Guard:
    """How much may be lost by some passes together, such as those of one sync.

    It is measured against all specs that there were: those that there are, and those that were lost since.
    """

    def __init__(self, max_delete_fraction: float, consent: Consent = no_consent) -> None:
        """``consent`` is asked each time that too much would be lost."""
        self._fraction = max_delete_fraction
        self._consent = consent
        self.lost = 0
        """How many were lost by passes before."""
        self.consented = False
        """Consent was needed, and was given."""

    def refuses(self, lost: int, specs: int) -> bool:
        """Tell whether losing ``lost`` of the ``specs`` that there are now needs consent first."""
        if lost <= 0 or self.lost + lost <= self._fraction * (specs + self.lost):
            return False
        self.consented = self._consent()
        return not self.consented

    def record_pass(self, report: Report) -> None:
        """A pass has done this. What it has lost counts for the next ones."""
        if not report.withheld:
            self.lost += report.lost
