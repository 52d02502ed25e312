"""The guard limits how many specs a sync may lose: an emptied or unmounted root must not empty the index."""

from collections import Counter
from collections.abc import Callable, Iterable

from cachesync.ledger import PageRecord
from cachesync.sync.report import Report


def question(command: str = "sync") -> str:
    """Return what to check before consenting to a loss, and the command that consents."""
    return (
        "Is pages.root mounted and complete? Do pages.include and pages.exclude say what they should? "
        f"If this is meant: cachesync {command} --allow-mass-delete"
    )


class Loss:
    """Counts the specs that a pass would lose.

    The loss is the sum, over all pages, of how many fewer specs each page has than before. A page that was moved (the
    same bytes are found at another path) doesn't count as lost.
    """

    def __init__(self, gone: Iterable[PageRecord]) -> None:
        self._gone: dict[str, dict[str, int]] = {}
        self._moved: Counter[str] = Counter()
        self._shrunk = 0
        for record in gone:
            self._gone.setdefault(record.digest or "", {})[record.page] = record.specs

    def shrunk(self, by: int) -> None:
        """Count a page that has ``by`` fewer specs than before."""
        self._shrunk += by

    def averted(self, record: PageRecord | None, shrunk: int | None) -> None:
        """Stop counting a page. ``shrunk`` is how many specs were counted for it; None: it was counted as deleted."""
        if shrunk is not None:
            self._shrunk -= shrunk
        elif record:
            self._gone.get(record.digest or "", {}).pop(record.page, None)

    def appeared(self, digest: str) -> None:
        """Count a page that wasn't in the ledger, by its digest: a deleted page may have moved to its path."""
        self._moved[digest] += 1

    def total(self) -> int:
        """Return how many specs are lost according to the pages counted so far."""
        moved = self._moved
        return self._shrunk + sum(sum([*specs.values()][moved[digest] :]) for digest, specs in self._gone.items())


def loss_between(before: Iterable[PageRecord], after: Iterable[PageRecord]) -> Loss:
    """Return the loss that replacing the ledger ``before`` with the ledger ``after`` causes."""
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
"""Returns whether a person consents to any loss and is still waiting for the result."""


def no_consent() -> bool:
    """Return False: nobody consents."""
    return False


class Guard:
    """Limits how much several passes, such as those of one sync, may lose in total.

    The limit is a fraction of the specs that there were before the first pass: those left plus those lost since.
    """

    def __init__(self, max_delete_fraction: float, consent: Consent = no_consent) -> None:
        """``consent`` is called whenever too much would be lost."""
        self._fraction = max_delete_fraction
        self._consent = consent
        self.lost = 0
        """How many specs earlier passes have lost."""
        self.consented = False
        """Whether consent was needed and given."""

    def refuses(self, lost: int, specs: int) -> bool:
        """Return whether losing ``lost`` of the current ``specs`` is too much and nobody consents to the loss."""
        if lost <= 0 or self.lost + lost <= self._fraction * (specs + self.lost):
            return False
        self.consented = self._consent()
        return not self.consented

    def record_pass(self, report: Report) -> None:
        """Count the specs that a pass has lost towards the limit of the following passes."""
        if not report.withheld:
            self.lost += report.lost
