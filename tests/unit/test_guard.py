"""What counts as a loss, and how much is too much."""

from cachesync.ledger import PageRecord, Signature
from cachesync.sync.guard import Guard, Loss, loss_between
from cachesync.sync.report import Report


def record(page: str, specs: int, digest: str | None = "d") -> PageRecord:
    signature = Signature(1, 2, 3, 4, 5)
    return PageRecord(page=page, signature=signature, settled=True, digest=digest, specs=specs, synced="")


def test_a_loss_is_summed_over_pages() -> None:
    loss = Loss([record("a", 5, "1"), record("b", 7, "2")])
    loss.shrunk(3)
    assert loss.total() == 15


def test_a_page_moved_to_another_path_is_no_loss() -> None:
    loss = Loss([record("a", 5, "1"), record("b", 5, "1"), record("c", 7, "2"), record("d", 1, None)])
    loss.appeared("1")
    loss.appeared("2")
    loss.appeared("3")
    assert loss.total() == 6


def test_the_loss_between_two_ledgers() -> None:
    before = [record("same", 5), record("shrunk", 5), record("gone", 7, "g"), record("moved", 9, "m")]
    after = [record("same", 5), record("shrunk", 2), record("moved/to", 9, "m"), record("grown", 100, "x")]
    assert loss_between(before, after).total() == 3 + 7


def test_a_guard_counts_all_passes_of_a_sync_together() -> None:
    guard = Guard(0.5)
    assert not guard.refuses(4, 8)
    assert guard.refuses(5, 8)
    guard.record_pass(Report(lost=4))
    assert guard.refuses(1, 4)
    assert not guard.refuses(0, 4)
    assert not guard.refuses(1, 6), "2 of the 10 that there were came later"


def test_consent_is_asked_for_when_too_much_would_be_lost() -> None:
    asked: list[int] = []

    def consent() -> bool:
        asked.append(1)
        return len(asked) < 2

    guard = Guard(0.5, consent)
    assert not guard.refuses(4, 8)
    assert asked == []
    assert not guard.refuses(8, 8)
    assert guard.refuses(8, 8), "whoever consented has gone"
