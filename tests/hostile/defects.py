"""Defects to plant: small mistakes that a review could miss, each where a promise of cachesync is kept."""

from typing import Final, NamedTuple


class Defect(NamedTuple):
    """One mistake, and the tests that must notice it."""

    name: str
    breaks: int
    """The number of the promise that it breaks, see docs/promises.md."""
    file: str
    """Below ``src/cachesync``."""
    old: str
    """What stands in that file, once."""
    new: str
    """What stands there instead."""
    tests: tuple[str, ...]
    """As pytest names them, below ``tests``; the first to fail ends the run."""


_PENDING: Final = (
    "    return ledger.page_document(msgspec.structs.replace(record, pending=True, specs=specs), changing)"
)

_SWAP: Final = """\
        connection.call(lambda client: client.indices.update_aliases(actions=actions), (NotFoundError,))
"""
_TWO_SWAPS: Final = """\
        for kind in ("remove", "add"):
            some = [action for action in actions if kind in action]
            connection.call(lambda client: client.indices.update_aliases(actions=some), (NotFoundError,))
"""

_COMMIT: Final = """\
                    writer.commit()
                yield from batch
                with"""
_COMMIT_LAST: Final = """\
                    pass
                yield from batch
                writer.commit()
                with"""

_WORLD: Final = "hostile/test_scripts.py::test_embedded"

DEFECTS: Final = (
    # --- 1: once things are quiet the index equals the pages ----------------------------------------------------------
    Defect(
        "the ledger is written before the documents",
        1,
        "index/elastic/generation.py",
        _PENDING,
        "    return ledger.page_document(change.record or record, change.digests)",
        ("unit/test_elastic.py::test_a_page_with_an_interrupted_change_is_checked_again",),
    ),
    Defect(
        "nobody looks at a page that is pending",
        1,
        "sync/plan.py",
        "!= record.specs or record.pending or record.page in suspected",
        "!= record.specs or record.page in suspected",
        ("unit/test_elastic.py::test_an_interrupted_repair_is_resumed",),
    ),
    Defect(
        "pages are acknowledged before the commit",
        1,
        "index/embedded/generation.py",
        _COMMIT,
        _COMMIT_LAST,
        ("unit/test_embedded.py::test_acknowledged_pages_are_committed[1000000]",),
    ),
    Defect(
        "the first operation of a writer deletes",
        1,
        "index/embedded/generation.py",
        '        self._tantivy.delete_documents_by_term(layout.ID, "")\n',
        "",
        ("unit/test_embedded.py::test_merges_interrupted_by_a_crash_lose_no_deletion",),
    ),
    Defect(
        "a signature is the time of modification only",
        1,
        "sync/plan.py",
        "record.settled and record.signature == entry.signature",
        "record.settled and record.signature.mtime_ns == entry.signature.mtime_ns",
        ("unit/test_plan.py::test_any_difference_of_the_signature_is_a_change",),
    ),
    Defect(
        "the signature of a page that was just written is trusted",
        1,
        "sync/read.py",
        "settled=unsettled_seconds(signature, now) == 0",
        "settled=True",
        ("unit/test_read.py::test_a_signature_is_trusted_once_any_change_would_show",),
    ),
    Defect(
        "a page that changes while it is read is taken as it was read",
        1,
        "sync/read.py",
        "    if signature_of(before) != signature or len(data) != after.st_size:",
        "    if len(data) != after.st_size:",
        ("unit/test_read.py::test_a_page_written_to_while_it_is_read_is_changing",),
    ),
    Defect(
        "documents that are missing are not counted",
        1,
        "sync/plan.py",
        "orphans.pop(record.page, 0) != record.specs",
        "orphans.pop(record.page, 0) > record.specs",
        ("unit/test_plan.py::test_the_plan_for_each_state_of_a_page",),
    ),
    Defect(
        "documents of no page stay",
        1,
        "sync/plan.py",
        " for page in orphans if page not in unknown and found.covers(page)]",
        " for page in orphans if page not in unknown and page in found.entries]",
        ("system/test_elastic.py::test_documents_of_others_go",),
    ),
    Defect(
        "a rename is lost: what was moved in is not watched",
        1,
        "watch/native.py",
        "inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO",
        "inotify.DELETE | inotify.MOVED_FROM",
        ("system/test_watch.py::test_a_tag_that_is_renamed_and_then_edited",),
    ),
    Defect(
        "a rename to where the ids are the same is forgotten",
        1,
        "sync/plan.py",
        "                result.again = True",
        "                pass",
        ("unit/test_apply.py::test_moving_to_a_path_with_the_same_ids_loses_nothing",),
    ),
    Defect(
        "an overflow of the watcher is ignored",
        1,
        "watch/native.py",
        "                raise _OverflowError",
        "                continue",
        ("system/test_watch.py::test_more_changes_than_the_queue_holds",),
    ),
    Defect(
        "what changes during a pass is forgotten with what it looked at",
        1,
        "service/debounce.py",
        "            self._taken.clear()\n\n    def put_back",
        "            self._taken, self._first, self._last = {}, {}, {}\n\n    def put_back",
        ("unit/test_debounce.py::test_nothing_is_ever_lost",),
    ),
    Defect(
        "what a pass failed on is forgotten",
        1,
        "service/pass_recorder.py",
        "            except BaseException as error:\n                self._dirty.put_back()",
        "            except BaseException as error:\n                self._dirty.done()",
        ("unit/test_loop.py::test_paths_of_a_failed_pass_are_dirty_again",),
    ),
    Defect(
        "half an index counts as intact",
        1,
        "index/elastic/aliases.py",
        '    return {index: list(each["aliases"]) for index, each in found.items()} == expected',
        "    return names.specs in found",
        ("unit/test_elastic.py::test_an_index_that_readers_do_not_find_is_not_intact[another alias]",),
    ),
    Defect(
        "nothing is refreshed",
        1,
        "index/elastic/generation.py",
        "        if wrote and refresh:",
        "        if wrote and not refresh:",
        ("contract/test_index.py::test_a_change_replaces_adds_and_deletes[elasticsearch]",),
    ),
    # --- 2: deletes follow, but not too many --------------------------------------------------------------------------
    Defect(
        "the guard counts only whole pages",
        2,
        "sync/apply.py",
        "                loss.shrunk(result.shrunk)\n",
        "",
        ("system/test_sync.py::test_a_mass_loss_needs_consent[embedded-pages shrunk]",),
    ),
    Defect(
        "the guard forgets what earlier passes lost",
        2,
        "service/loss_guard.py",
        "        self._guard.record_pass(report)",
        "        self.reset()",
        ("unit/test_loop.py::test_losses_before_the_guard_refuses_count_for_later_passes",),
    ),
    Defect(
        "a look at everything lets the guard forget",
        2,
        "service/sync_jobs.py",
        "        if not len(self._dirty) and not report.again:\n            self._session.loss_guard.all_scanned()",
        "        self._session.loss_guard.all_scanned()",
        ("unit/test_loop.py::test_a_full_pass_continues_from_earlier_losses",),
    ),
    Defect(
        "a reindex is judged by what was there when it began",
        2,
        "sync/reindex.py",
        "        self._earlier, self._unreadable = _open_replaced(self._writer)  # again: it may have been written to since\n",
        "",
        ("unit/test_loop.py::test_a_reindex_loses_what_was_consented_to_meanwhile",),
    ),
    Defect(
        "what is held isn't noted",
        2,
        "service/loss_guard.py",
        "        if note != self._noted or not self._is_noted:",
        "        if withheld != self._state.withheld:",
        ("unit/test_loop.py::test_withheld_pages_are_noted_despite_failures",),
    ),
    Defect(
        "a rename counts as a loss",
        2,
        "sync/apply.py",
        "                loss.appeared(result.new_digest)",
        "                pass",
        ("system/test_sync.py::test_renaming_and_rewriting_are_no_loss[embedded]",),
    ),
    Defect(
        "a reindex compares sums, so new pages hide lost ones",
        2,
        "sync/reindex.py",
        "all(specs <= written.get(page, 0) for page, specs in before.items())",
        "sum(before.values()) <= sum(written.values())",
        ("system/test_reindex.py::test_new_pages_do_not_make_up_for_lost_ones",),
    ),
    Defect(
        "a page that is back is deleted all the same",
        2,
        "sync/apply.py",
        "None if todo.page in back else self._result",
        "self._result",
        ("unit/test_apply.py::test_a_page_that_reappeared_is_not_deleted",),
    ),
    Defect(
        "a page is there wherever a file answers to its path, through a link too",
        1,
        "sync/apply.py",
        "        return {page for page in pages if page in now.entries or not now.covers(page)}",
        "        return {page for page in pages if (self._source.root / page).exists() or not now.covers(page)}",
        ("unit/test_apply.py::test_a_page_below_a_folder_that_became_a_link_is_gone",),
    ),
    # --- 3: what could not be read is not deleted ---------------------------------------------------------------------
    Defect(
        "a folder that can't be listed is empty",
        3,
        "sync/scan.py",
        "        self.found.unread[path] = gone\n        if not gone:",
        "        if not gone:",
        ("system/test_reindex.py::test_pages_that_cannot_be_looked_at_keep_their_documents[embedded]",),
    ),
    Defect(
        "a folder that can't be listed covers only what is right in it",
        3,
        "sync/scan.py",
        'any(place.removesuffix("/") in self.unread for place in places_of(path)))',
        'any(place in self.unread for place in ("", path, path.rpartition("/")[0])))',
        ("unit/test_plan.py::test_pages_below_unlisted_folders_are_kept",),
    ),
    Defect(
        "a root that was replaced meanwhile is taken for the same",
        3,
        "sync/scan.py",
        "    require_same(source, root)\n    return walk.found",
        "    return walk.found",
        ("unit/test_scan.py::test_a_root_replaced_during_the_scan_is_refused",),
    ),
    # --- 4: readers see a whole index ---------------------------------------------------------------------------------
    Defect(
        "aliases are swapped in two calls",
        4,
        "index/elastic/aliases.py",
        _SWAP,
        _TWO_SWAPS,
        ("system/test_elastic.py::test_readers_find_everything_between_any_two_requests_of_a_reindex",),
    ),
    Defect(
        "the link is removed and made again",
        4,
        "index/embedded/store.py",
        "            self._new_link.symlink_to(name)\n            self._new_link.replace(self._folder / LIVE)",
        "            (self._folder / LIVE).unlink(missing_ok=True)\n            (self._folder / LIVE).symlink_to(name)",
        ("unit/test_embedded.py::test_readers_find_the_index_before_each_step_of_the_swap",),
    ),
    Defect(
        "what changes while a generation is filled is not in it",
        4,
        "sync/reindex.py",
        "        return scan(source) == filled.found and _holds_what_was_written(generation, filled)",
        "        return _holds_what_was_written(generation, filled)",
        ("unit/test_loop.py::test_changes_after_filling_are_part_of_a_reindex",),
    ),
    Defect(
        "a generation goes live uncounted",
        4,
        "sync/reindex.py",
        "        return scan(source) == filled.found and _holds_what_was_written(generation, filled)",
        "        return scan(source) == filled.found",
        (
            "system/test_elastic.py::test_documents_that_a_server_loses_from_a_new_generation_are_in_it_when_it_goes_live",
        ),
    ),
    # --- 5: trouble with the server costs time, never data ------------------------------------------------------------
    Defect(
        "an item's error is ignored: what the server refuses counts as written",
        5,
        "index/elastic/bulk.py",
        "        elif status != 404:  #",
        "        elif status not in (400, 404):  #",
        ("unit/test_elastic.py::test_refused_documents_are_a_problem_of_their_page",),
    ),
    Defect(
        "documents that are answered 429 are given up",
        5,
        "index/elastic/bulk.py",
        "status in BUSY or status >= 500 or kind",
        "status >= 500 or kind",
        ("unit/test_elastic.py::test_responses_to_single_operations_are_classified",),
    ),
    Defect(
        "documents that a block keeps out are given up",
        5,
        "index/elastic/bulk.py",
        ' or status >= 500 or kind == "cluster_block_exception":',
        " or status >= 500:",
        ("system/test_elastic.py::test_single_documents_that_the_server_cannot_take_now_are_tried_again",),
    ),
    Defect(
        "a request without an answer counts as carried out",
        5,
        "index/elastic/bulk.py",
        "Outcome(again=operations, kind=failure_of(error), reason=reason_of(error))",
        "Outcome(kind=failure_of(error), reason=reason_of(error))",
        ("unit/test_elastic.py::test_temporarily_refused_requests_are_retried",),
    ),
    Defect(
        "one bad document holds all others",
        5,
        "index/elastic/bulk.py",
        "        return self._part(alias, operations[:half]) + self._part(alias, operations[half:])",
        "        return Sent(tuple(RejectedDocument(_id(each), reason_of(error)) for each in operations))",
        ("unit/test_elastic.py::test_one_refused_operation_does_not_block_the_others",),
    ),
    # --- 6: nothing late undoes something newer -----------------------------------------------------------------------
    Defect(
        "writes carry no version: a lease without fencing",
        6,
        "index/elastic/bulk.py",
        """    return b',"version":%d,"version_type":"external_gte"}}\\n' % version""",
        """    return b"}}\\n\"""",
        ("unit/test_elastic.py::test_writes_of_an_earlier_holder_are_rejected",),
    ),
    Defect(
        "a new holder's epoch isn't above the last one's",
        6,
        "index/elastic/lease.py",
        "max(seen.state.epoch + 1, int(time.time()))",
        "seen.state.epoch or int(time.time())",
        ("unit/test_elastic.py::test_writes_of_an_earlier_holder_are_rejected",),
    ),
    Defect(
        "what was turned away as stale counts as written",
        6,
        "index/elastic/bulk.py",
        "            stale += 1",
        "            pass",
        ("unit/test_elastic.py::test_writes_of_an_earlier_holder_are_rejected",),
    ),
    Defect(
        "any index will do: require_alias is missing",
        6,
        "index/elastic/connection.py",
        "                require_alias=True,\n",
        "",
        ("unit/test_elastic.py::test_late_requests_create_no_index[put]",),
    ),
    Defect(
        "deletions alone make an index anew",
        6,
        "index/elastic/bulk.py",
        "        guard = [_GUARD] if is_delete(operations[0]) else []",
        "        guard: list[bytes] = []",
        ("unit/test_elastic.py::test_late_requests_create_no_index[delete]",),
    ),
    Defect(
        "a generation goes live without asking for the lease",
        6,
        "index/elastic/aliases.py",
        "    lease.confirm()\n    try:",
        "    try:",
        ("unit/test_elastic.py::test_an_overtaken_writer_cannot_promote",),
    ),
    Defect(
        "a generation goes live without asking for the lock",
        6,
        "index/embedded/store.py",
        "        self._lock.confirm()\n        if not (self._folder / name).is_dir()",
        "        if not (self._folder / name).is_dir()",
        ("unit/test_embedded.py::test_an_overtaken_writer_cannot_promote",),
    ),
    Defect(
        "the lock lets two in",
        6,
        "index/embedded/lock.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        ("contract/test_index.py::test_there_is_one_writer[embedded]",),
    ),
    # --- 7: a restart does only what changed --------------------------------------------------------------------------
    Defect(
        "unchanged pages are read again",
        7,
        "sync/read.py",
        "settled=unsettled_seconds(signature, now) == 0",
        "settled=unsettled_seconds(signature, now) < 0",
        ("system/test_sync.py::test_a_second_sync_reads_no_page_and_writes_nothing[embedded]",),
    ),
    Defect(
        "a page that changes is written whole",
        7,
        "sync/plan.py",
        "        if before.get(key) != after[key]\n",
        "",
        ("system/test_sync.py::test_one_spec_added_to_the_biggest_page_is_one_document[embedded]",),
    ),
    Defect(
        "a page that was only touched is written",
        7,
        "sync/compare.py",
        "todo.record.digest == digest and not todo.check_documents",
        "todo.record.digest == digest and todo.record.signature == content.signature",
        ("system/test_sync.py::test_a_page_that_was_only_touched_is_read_but_nothing_is_written_of_it[embedded]",),
    ),
    # --- requests from commands, and waiting --------------------------------------------------------------------------
    Defect(
        "a request is carried out though nobody waits for it",
        2,
        "service/request_inbox.py",
        "    is_alive: bool = False",
        "    is_alive: bool = True",
        (
            "unit/test_requests.py::test_a_request_is_yielded_while_its_command_gives_signs",
            "system/test_service_commands.py::test_consent_is_never_older_than_the_command_that_gave_it[embedded]",
        ),
    ),
    Defect(
        "consent outlives the command that gave it",
        2,
        "service/request_inbox.py",
        "        return known.is_alive\n",
        "        return True\n",
        ("unit/test_loop.py::test_consent_ends_with_the_command_that_gave_it",),
    ),
    Defect(
        "nobody notes what is about to go live",
        1,
        "service/request_jobs.py",
        "            self._requests.note_promotion(request.id, before)",
        "            pass",
        ("unit/test_loop.py::test_a_rollback_is_done_once_even_if_its_service_is_killed",),
    ),
    Defect(
        "a scan gives no sign of life",
        1,
        "sync/scan.py",
        "        self._check = current().check",
        "        self._check = lambda: None",
        ("system/test_waiting.py::test_a_scan_ends_when_the_service_is_to_end",),
    ),
    Defect(
        "nobody speaks for a loop that waits for its file system",
        1,
        "service/daemon.py",
        "        if self.pulse.awaited:",
        "        if not self.pulse.awaited:",
        ("system/test_waiting.py::test_a_mount_that_hangs_stops_neither_health_nor_the_end",),
    ),
    Defect(
        "a request takes its own time, whatever is left of the patience",
        5,
        "index/elastic/connection.py",
        "        steps = max(1, int(seconds / _LEAST_SECONDS))",
        "        steps = int(REQUEST_SECONDS / _LEAST_SECONDS)",
        ("unit/test_elastic.py::test_timeouts_fit_into_the_patience",),
    ),
    Defect(
        "a folder that a link leads to has its pages still",
        2,
        "sync/apply.py",
        "        return {page for page in pages if page in now.entries or not now.covers(page)}",
        "        return {page for page in pages if (self._source.root / page).exists()}",
        ("unit/test_loop.py::test_a_folder_that_becomes_a_link_is_gone_and_nothing_else_is_withheld",),
    ),
    # --- for the hostile world to find ---------------------------------------------------------------------------------
    Defect(
        "the guard lets everything go",
        2,
        "sync/guard.py",
        "self.lost + lost <= self._fraction * (specs + self.lost)",
        "self.lost + lost <= specs + self.lost",
        (_WORLD,),
    ),
    Defect(
        "a folder that can't be listed has nothing below it, where everything is looked at",
        3,
        "sync/scan.py",
        "        self.found.unread[path] = gone\n        if not gone:",
        "        if gone:\n            self.found.unread[path] = gone\n        else:",
        (_WORLD,),
    ),
    Defect(
        "a page is told by inode, size and time of modification",
        1,
        "sync/scan.py",
        "status.st_mtime_ns, status.st_ctime_ns)",
        "status.st_mtime_ns, status.st_mtime_ns)",
        (_WORLD,),
    ),
)
