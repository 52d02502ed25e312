"""The folder of an embedded index: its generations, which of them is live, and its writer.

``DIR/NAME/live`` is a symbolic link to the live generation's folder ``DIR/NAME/NAME-1``, so going live is one rename.
A folder with a file ``building`` was never live. A folder to be removed is first renamed ``NAME-1.removed``, so
that a partly removed generation is never taken for a whole one. ``DIR/NAME/held`` names the generation that a rollback
made live, and during a second rollback the previous one too: while it is live, the index is pinned. The writer locks
``DIR/NAME/lock``, and a service locks ``DIR/NAME/service`` too. ``DIR/NAME/notes`` has the notes between processes.
"""

import contextlib
import os
import pwd
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import tantivy

from cachesync.documents import FIELDS, fingerprint
from cachesync.errors import IndexUnavailableError, IndexUnusableError, NoIndexError, UsageError
from cachesync.index.base import Generation, Notes, OnWait, Reader, Status, Writer, ignore
from cachesync.index.embedded import lock
from cachesync.index.embedded.errors import tantivy_errors
from cachesync.index.embedded.files import SmallFiles, remove_tree, write_atomically
from cachesync.index.embedded.generation import EmbeddedGeneration
from cachesync.index.embedded.lock import WriterLock
from cachesync.index.embedded.schema import schema
from cachesync.index.generations import left_by_rollback, to_keep
from cachesync.log import Once, get_logger

_log = get_logger()

_META: Final = "cachesync.json"
_TANTIVY_META: Final = "meta.json"
_LIVE: Final = "live"
_PIN: Final = "held"
_BUILDING: Final = "building"
_REMOVED: Final = ".removed"
_ROOT: Final = 0
_NOTES: Final = "notes"
_KNOCKS: Final = "knocks"
"""A folder of earlier versions, to be removed."""

LAYOUT: Final = 1
"""To be raised when an index with an older layout can't be used any more, not even until the next ``reindex``."""

_ALL: Final = sys.maxsize

_ROOM: Final = 1.2
"""How much disk space a new generation needs, as a multiple of the live one's size."""


class _GenerationMeta(msgspec.Struct):
    """The fields and layout with which a generation was made."""

    fingerprint: str
    fields: list[str]
    layout: int


class EmbeddedIndex:
    """The index called ``name`` in a folder."""

    engine = "embedded"

    def __init__(self, folder: Path, name: str, keep_generations: int = 1) -> None:
        """``keep_generations``: how many generations a rollback can go back."""
        self.url = f"embedded:{os.path.normpath(folder)}"
        self._folder = folder / name
        self._keep = keep_generations

    def exists(self) -> bool:
        """Whether there is a live generation."""
        self._require_ours()
        return _live(self._folder) is not None

    def reader(self, *, refresh: bool = False) -> Reader:  # noqa: ARG002  a new reader always has everything written
        """Open the live generation for reading."""
        self._require_ours()
        live = _live(self._folder)
        while live:
            try:
                return _open(live)
            except IndexUnusableError:
                live, before = _live(self._folder), live
                if live == before:  # otherwise it was replaced and removed while it was being opened
                    raise
        raise NoIndexError(f"no index in {self._folder} yet: `cachesync sync` makes one")

    def made(self, generation: str) -> datetime | None:
        """Return when a generation's metadata was written, which is the first of its files."""
        try:
            return datetime.fromtimestamp((self._folder / generation / _META).stat().st_mtime, UTC)
        except OSError:
            return None

    def status(self) -> Status:
        """Return which process is the writer, and which generations are kept."""
        self._require_ours()
        live = _live(self._folder)
        kept = [folder.name for folder in _kept(self._folder, _ALL)] if live else []
        serving = lock.is_serving(self._folder)
        holder = lock.holder_of(self._folder) or ("another process" if serving else None)  # in another container
        return Status(
            holder=holder,
            pinned=live is not None and live.name in _pinned(self._folder),
            kept=kept,
            service=serving,
            sign=None,
        )

    @contextlib.contextmanager
    def writer(self, wait: float, *, serving: bool = False, on_wait: OnWait = ignore) -> Iterator[Writer]:
        """Become the one writer."""
        self.require_rights()
        writer_lock = WriterLock(self._folder, serving=serving)
        try:
            writer_lock.acquire(wait, on_wait)
            yield _EmbeddedWriter(self._folder, self._keep, writer_lock)
        finally:
            writer_lock.release()

    def require_rights(self) -> None:
        """Refuse to write as root to another user's index: that user couldn't replace root's files afterwards.

        For other users, the first write fails if they lack rights.
        """
        self._require_ours()
        place = next((each for each in (self._folder, self._folder.parent) if each.is_dir()), None)
        if os.geteuid() != _ROOT or place is None:
            return
        owner = place.stat().st_uid
        if owner != _ROOT:
            raise IndexUnavailableError(
                f"{place} belongs to the user {_user_name(owner)}, who couldn't replace what root has written: "
                f"run this as that user, by sudo -u or setpriv --reuid={owner}"
            )

    def close(self) -> None:
        """Do nothing: nothing is kept open."""

    def notes(self) -> Notes:
        """Open the notes, which are in the folder."""
        return SmallFiles(self._folder / _NOTES, self._prepare)

    def signal(self) -> None:
        """Do nothing: the writer notices that the notes have changed."""

    def _prepare(self) -> None:
        self._require_ours()
        lock.prepare(self._folder)

    def _require_ours(self) -> None:
        """Make sure that the folder, if it isn't empty, is an index of ours.

        Raises:
            UsageError: it isn't.
            IndexUnavailableError: it can't be read.
        """
        try:
            foreign = any(self._folder.iterdir()) and not lock.is_ours(self._folder)
        except FileNotFoundError:
            foreign = False
        except NotADirectoryError:
            foreign = True
        except OSError as error:
            raise IndexUnavailableError(f"cannot read {self._folder}: {error.strerror}") from error
        if foreign:
            raise UsageError(
                f"{self._folder} is not a cachesync index, and was left alone: choose another index.url or index.name"
            )


def _user_name(user: int) -> str:
    """Return a user's name, or the number if the user has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _pinned(folder: Path) -> list[str]:
    """Return the generations that pin the index while they are live."""
    try:
        return (folder / _PIN).read_text().split()
    except OSError:
        return []


def _generations(folder: Path) -> dict[int, Path]:
    """Return the folders of all generations, by number."""
    try:
        found = [(_number_in(folder, entry.name), entry) for entry in folder.iterdir()]
    except FileNotFoundError:
        return {}
    return {number: entry for number, entry in found if number is not None}


def _half_removed(folder: Path) -> list[Path]:
    """Return the folders of generations whose removal was interrupted."""
    named = [entry for entry in folder.iterdir() if entry.name.endswith(_REMOVED)]
    return [entry for entry in named if _number_in(folder, entry.name.removesuffix(_REMOVED)) is not None]


def _number_in(folder: Path, name: str) -> int | None:
    """Return the number of the generation with this name; None if it isn't the name of a generation."""
    match = re.fullmatch(re.escape(folder.name) + r"-(\d+)", name)
    return int(match[1]) if match else None


def _next_number(folder: Path, live: Path | None) -> int:
    """Return an unused number for a new generation: no folder, link or pin refers to it.

    Folders may have been deleted by hand. If a number were reused, the link could lead to an empty generation, a pin
    apply to the wrong one, and remains of an old one block the new one.
    """
    names = [entry.name.removesuffix(_REMOVED) for entry in folder.iterdir()]
    names += _pinned(folder)
    names += [live.name] if live else []
    numbers = [_number_in(folder, name) for name in names]
    return max((number for number in numbers if number is not None), default=0) + 1


def _kept(folder: Path, keep: int) -> list[Path]:
    """Return the generations that a rollback can go back to, the latest first."""
    finished, live = _finished(folder)
    return [finished[number] for number in to_keep(finished, live, keep)]


def _left_by_rollback(folder: Path) -> list[Path]:
    """Return the generations that rollbacks have replaced."""
    finished, live = _finished(folder)
    return [finished[number] for number in left_by_rollback(finished, live)]


def _finished(folder: Path) -> tuple[dict[int, Path], int | None]:
    """Return the generations that were live once, by number, and the number of the live one."""
    generations = _generations(folder)
    linked = _live(folder)
    live = next((number for number, each in generations.items() if each == linked), None)
    return {number: each for number, each in generations.items() if _was_live(each)}, live


def _was_live(folder: Path) -> bool:
    return _is_there(folder / _META) and not _is_there(folder / _BUILDING)


def _is_there(file: Path) -> bool:
    """Whether a file exists.

    Raises:
        IndexUnavailableError: this can't be determined.
    """
    try:
        return file.is_file()
    except OSError as error:
        raise IndexUnavailableError(f"cannot read {file}: {error.strerror}") from error


def _live(folder: Path) -> Path | None:
    """Return the live generation's folder; None if there isn't one.

    Raises:
        IndexUnavailableError: this can't be determined, which is no reason to build another.
    """
    try:
        return folder / (folder / _LIVE).readlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IndexUnavailableError(f"cannot read {folder / _LIVE}: {error.strerror}") from error


def _open(folder: Path) -> EmbeddedGeneration:
    """Open a generation.

    Raises:
        IndexUnusableError: it is damaged, or has another layout.
    """
    with tantivy_errors(folder):
        meta = msgspec.json.decode((folder / _META).read_bytes(), type=_GenerationMeta)
    if meta.layout != LAYOUT:
        raise IndexUnusableError(f"this version can't use the index in {folder}; `cachesync sync` rebuilds it")
    return EmbeddedGeneration(folder, meta.fields, outdated=meta.fingerprint != fingerprint())


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Translate errors while a folder is changed.

    Raises:
        IndexUnavailableError: the file system reported an error.
    """
    try:
        yield
    except OSError as error:
        raise IndexUnavailableError(f"cannot change the index in {folder}: {error}") from error


class _EmbeddedWriter:
    """The one writer of an embedded index."""

    def __init__(self, folder: Path, keep: int, writer_lock: WriterLock) -> None:
        self._folder = folder
        self._keep = keep
        self._lock = writer_lock
        self._notes = SmallFiles(folder / _NOTES)
        self._new_link = folder / f"{_LIVE}.new"
        self._new_pin = folder / f"{_PIN}.new"
        self._known: Path | None = None
        """The live generation, when this writer last opened or promoted it."""
        self._building: Path | None = None
        """The generation being built, which must not be removed though it was never live."""
        self._logged = Once()
        """Which reason was logged why the live generation can't be used."""

    def live(self) -> Generation | None:
        """Open the live generation."""
        self._lock.confirm()
        folder = _live(self._folder)
        self._known = None
        with _changing(self._folder):
            self._clean_up(folder)
            if folder is None:
                return None
            self._prune()
        try:
            generation = _open(folder)
            generation.tidy()
        except IndexUnusableError as error:
            if self._logged.is_news(str(error)):
                _log.warning("the index can't be used and is built anew", action="index.rebuilt", reason=str(error))
            return None
        self._logged.over()
        self._known = folder
        return generation

    def intact(self) -> bool:
        """Whether the lock, the link and the metadata of the live generation are still in place."""
        return (
            self._known is not None
            and self._lock.is_in_place
            and _live(self._folder) == self._known
            and all(_is_there(self._known / name) for name in (_META, _TANTIVY_META))
        )

    def signals(self) -> int:
        """Return a digest of the keys and modification times of all notes."""
        return self._notes.state()

    def replaced(self) -> Reader | None:
        """Open the live generation, whichever version made it, or else the latest one."""
        folder = _live(self._folder) or next(iter(_kept(self._folder, 1)), None)
        return EmbeddedGeneration(folder) if folder else None

    def pinned(self) -> bool:
        """Whether a rollback made the live generation live."""
        live = _live(self._folder)
        if live is None or live.name not in _pinned(self._folder):
            return False
        self._known = live
        return True

    def build(self) -> Generation:
        """Create the folder of a new generation. The files that mark it as unfinished and ours are written first."""
        self._lock.confirm()
        live = _live(self._folder)
        self._building = None
        try:
            self._clean_up(live)
            self._require_room(live)
            folder = self._folder / f"{self._folder.name}-{_next_number(self._folder, live)}"
            self._building = folder
            folder.mkdir()
            (folder / _BUILDING).touch()
            (folder / _META).write_bytes(msgspec.json.encode(_GenerationMeta(fingerprint(), list(FIELDS), LAYOUT)))
            tantivy.Index(schema(), str(folder))
        except (OSError, ValueError) as error:
            raise IndexUnavailableError(f"cannot make an index in {self._folder}: {error}") from error
        return EmbeddedGeneration(folder)

    def discard(self, generation: Generation) -> None:
        """Remove a generation that was built, unless it has become the live one."""
        folder = self._folder / generation.generation
        if self._building == folder:
            self._building = None
        with _changing(self._folder):
            self._remove([folder])

    def settle(self, generation: Generation) -> None:
        """Do nothing: everything that was written is on the disk already."""

    def promote(self, generation: Generation) -> None:
        """Point the link to a generation by one rename."""
        self._lock.confirm()
        folder = self._folder / generation.generation
        if not folder.is_dir():
            raise IndexUnusableError(f"{folder} is gone and can't go live")
        with _changing(self._folder):
            self._remove(_left_by_rollback(self._folder))
            self._point_to(folder)
        self._building = None
        try:
            (folder / _BUILDING).unlink(missing_ok=True)
            self._prune()
        except (OSError, IndexUnavailableError) as error:
            _log.warning(
                "older generations are left for the next run to remove", action="generation.left", reason=str(error)
            )

    def rollback(self, to: str | None = None) -> str:
        """Point the link back to the generation before. The pin takes effect with it."""
        self._lock.confirm()
        live = _live(self._folder)
        if live and live.name == to and to in _pinned(self._folder):
            return to
        before = next(iter(_kept(self._folder, 1)), None)
        if before is None or live is None:
            raise UsageError(
                f"no generation before the live one is kept (index.keep_generations); {self._folder.name} stays"
            )
        _open(before)
        with _changing(self._folder):
            pinned = [live] if live.name in _pinned(self._folder) else []  # still pinned if the link isn't changed
            self._pin(before, *pinned)
            self._point_to(before)
        if pinned:
            with contextlib.suppress(OSError):  # only for older versions, which know a single name
                self._pin(before)
        return before.name

    def _pin(self, *generations: Path) -> None:
        """Pin the index while one of these generations is live."""
        names = " ".join(each.name for each in generations)
        write_atomically(self._folder / _PIN, self._new_pin, names.encode())

    def _point_to(self, folder: Path) -> None:
        self._new_link.unlink(missing_ok=True)
        self._new_link.symlink_to(folder.name)
        self._new_link.replace(self._folder / _LIVE)
        self._known = folder

    def _require_room(self, live: Path | None) -> None:
        """Make sure that there is enough disk space for a second generation beside the live one.

        Raises:
            IndexUnavailableError: there isn't.
        """
        if live is None or not live.is_dir():
            return
        needed = sum(file.stat().st_size for file in live.iterdir() if file.is_file()) * _ROOM
        place = os.statvfs(self._folder)
        free = place.f_bavail * place.f_frsize
        if free < needed:
            raise IndexUnavailableError(
                f"no room for a new generation in {self._folder}: it needs about {needed / 1e6:,.0f} MB, "
                f"and {free / 1e6:,.0f} MB are free"
            )

    def _prune(self) -> None:
        """Remove generations that no rollback needs any more."""
        kept = _kept(self._folder, self._keep)
        self._remove([each for each in _generations(self._folder).values() if each not in kept])

    def _clean_up(self, live: Path | None) -> None:
        """Remove what interrupted writers have left."""
        for temporary in (self._new_link, self._new_pin):
            _unlink(temporary)
        if live and live.is_dir():
            _unlink(live / _BUILDING)  # the writer was interrupted after it went live
        for folder in _half_removed(self._folder):
            remove_tree(folder)
        if (knocks := self._folder / _KNOCKS).is_dir():
            remove_tree(knocks)
        self._remove(self._unfinished())

    def _unfinished(self) -> Iterator[Path]:
        """Yield the generations that interrupted builds have left."""
        for folder in _generations(self._folder).values():
            if folder.is_dir() and ((folder / _BUILDING).exists() or not any(folder.iterdir())):
                yield folder

    def _remove(self, folders: Iterable[Path]) -> None:
        """Remove generations, except the live one, the one being built, and folders that aren't ours."""
        live = _live(self._folder)
        for folder in list(folders):
            if folder in (live, self._building):
                continue
            if not folder.is_symlink() and ((folder / _META).exists() or not _foreign_files(folder)):
                _remove_folder(folder)


def _remove_folder(folder: Path) -> None:
    """Rename and remove a generation. Files that can't be removed now are left for the next writer, and do no harm."""
    removed = folder.with_name(f"{folder.name}{_REMOVED}")
    if not removed.exists():  # if it does, another generation had this number
        with contextlib.suppress(FileNotFoundError):  # another thread of the writer was first
            folder.rename(removed)
    remove_tree(removed)
    if removed.exists():
        _log.warning(
            "older generations are left for the next run to remove",
            action="generation.left",
            reason=f"{removed} can't be removed",
        )


def _unlink(file: Path) -> None:
    """Remove a file if it exists. A read-only file system refuses even to remove one that doesn't, so check first."""
    if os.path.lexists(file):
        file.unlink(missing_ok=True)


def _foreign_files(folder: Path) -> bool:
    """Whether a folder without our metadata contains any files but the mark of a build."""
    return not folder.is_dir() or any(entry.name != _BUILDING for entry in folder.iterdir())
