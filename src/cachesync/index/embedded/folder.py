"""The folder of an embedded index: its generations, which of them is live, and who writes.

``DIR/NAME/live`` is a symbolic link to the live generation's folder ``DIR/NAME/NAME-1``, so going live is one rename.
A folder that holds a file ``building`` was never live. One that is to be removed is called ``NAME-1.removed`` first, so
that half of a generation never looks like one. ``DIR/NAME/held`` names the generation that a rollback has gone back to,
and during a second rollback the one before as well: while it is live, the index is pinned. ``DIR/NAME/lock`` is locked by
the one writer, and ``DIR/NAME/service`` too if that is a service. ``DIR/NAME/notes`` is what processes tell each other.
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
from cachesync.index.base import Generation, Notes, OnWait, Reader, Status, Writer, nobody
from cachesync.index.embedded import lock
from cachesync.index.embedded.files import SmallFiles, remove_tree, write_whole
from cachesync.index.embedded.generation import EmbeddedGeneration, tantivy_errors
from cachesync.index.embedded.lock import Hold
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
"""A folder that earlier versions kept."""

LAYOUT: Final = 1
"""Raise it when an index of an older one can't be used any more, not even until the next ``reindex``."""

_ALL: Final = sys.maxsize

_ROOM: Final = 1.2
"""How much room a new generation needs, in sizes of the live one."""


class _GenerationMeta(msgspec.Struct):
    """What made a generation."""

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
        """Tell whether there is a live generation."""
        self._require_ours()
        return _live(self._folder) is not None

    def reader(self, *, fresh: bool = False) -> Reader:  # noqa: ARG002  it always is
        """Open the live generation for reading."""
        self._require_ours()
        live = _live(self._folder)
        while live:
            try:
                return _open(live)
            except IndexUnusableError:
                live, before = _live(self._folder), live
                if live == before:  # else it was replaced and removed while it was being opened
                    raise
        raise NoIndexError(f"no index in {self._folder} yet: `cachesync sync` makes one")

    def made(self, generation: str) -> datetime | None:
        """Return when what marks a generation as ours was written, which is the first of its files."""
        try:
            return datetime.fromtimestamp((self._folder / generation / _META).stat().st_mtime, UTC)
        except OSError:
            return None

    def status(self) -> Status:
        """Tell who writes, and which generations are kept."""
        self._require_ours()
        live = _live(self._folder)
        kept = [folder.name for folder in _kept(self._folder, _ALL)] if live else []
        serving = lock.is_serving(self._folder)
        holder = lock.holder_of(self._folder) or ("another process" if serving else None)  # elsewhere, in a container
        return Status(
            holder=holder,
            pinned=live is not None and live.name in _pinned(self._folder),
            kept=kept,
            service=serving,
            sign=None,
        )

    @contextlib.contextmanager
    def writer(self, wait: float, *, serving: bool = False, on_wait: OnWait = nobody) -> Iterator[Writer]:
        """Become the one writer."""
        self.require_rights()
        hold = Hold(self._folder, serving=serving)
        try:
            hold.acquire(wait, on_wait)
            yield _EmbeddedWriter(self._folder, self._keep, hold)
        finally:
            hold.release()

    def require_rights(self) -> None:
        """Refuse to let root write where somebody else does: he could never replace those files, nor answer in them.

        Of others the file system tells at the first write.
        """
        self._require_ours()
        place = next((each for each in (self._folder, self._folder.parent) if each.is_dir()), None)
        if os.geteuid() != _ROOT or place is None:
            return
        owner = place.stat().st_uid
        if owner != _ROOT:
            raise IndexUnavailableError(
                f"{place} belongs to the user {_called(owner)}, who couldn't replace what root has written: "
                f"run this as that user, by sudo -u or setpriv --reuid={owner}"
            )

    def close(self) -> None:
        """Nothing is kept open."""

    def notes(self) -> Notes:
        """Open the notes in the folder."""
        return SmallFiles(self._folder / _NOTES, self._prepare)

    def signal(self) -> None:
        """Nothing more is needed: the writer sees that the notes have changed."""

    def _prepare(self) -> None:
        self._require_ours()
        lock.prepare(self._folder)

    def _require_ours(self) -> None:
        """Make sure that what is in our place is ours.

        Raises:
            UsageError: it isn't.
            IndexUnavailableError: it can't be looked at.
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
                f"{self._folder} is no index of cachesync, and was left alone: choose another index.url or index.name"
            )


def _called(user: int) -> str:
    """Return a user's name, or number where it has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _pinned(folder: Path) -> list[str]:
    """Return the generations that hold syncs while they are live."""
    try:
        return (folder / _PIN).read_text().split()
    except OSError:
        return []


def _generations(folder: Path) -> dict[int, Path]:
    """Return the folders that are generations by their number."""
    try:
        found = [(_number_in(folder, entry.name), entry) for entry in folder.iterdir()]
    except FileNotFoundError:
        return {}
    return {number: entry for number, entry in found if number is not None}


def _half_removed(folder: Path) -> list[Path]:
    """Return what is left of generations whose removal was interrupted."""
    named = [entry for entry in folder.iterdir() if entry.name.endswith(_REMOVED)]
    return [entry for entry in named if _number_in(folder, entry.name.removesuffix(_REMOVED)) is not None]


def _number_in(folder: Path, name: str) -> int | None:
    """Return the number of the generation that has this name."""
    match = re.fullmatch(re.escape(folder.name) + r"-(\d+)", name)
    return int(match[1]) if match else None


def _next_number(folder: Path, live: Path | None) -> int:
    """Return a number for a new generation, which nothing here tells of, though somebody may have removed its folder.

    Else the link could lead to what isn't filled yet, a rollback hold what it has never gone back to, and what is left
    of a generation be in the new one's way.
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
    """Return the generations that rollbacks have gone back from."""
    finished, live = _finished(folder)
    return [finished[number] for number in left_by_rollback(finished, live)]


def _finished(folder: Path) -> tuple[dict[int, Path], int | None]:
    """Return the generations that were live once by their number, and the number of the live one."""
    generations = _generations(folder)
    linked = _live(folder)
    live = next((number for number, each in generations.items() if each == linked), None)
    return {number: each for number, each in generations.items() if _was_live(each)}, live


def _was_live(folder: Path) -> bool:
    return _is_there(folder / _META) and not _is_there(folder / _BUILDING)


def _is_there(file: Path) -> bool:
    """Tell whether there is a file.

    Raises:
        IndexUnavailableError: that can't be told.
    """
    try:
        return file.is_file()
    except OSError as error:
        raise IndexUnavailableError(f"cannot read {file}: {error.strerror}") from error


def _live(folder: Path) -> Path | None:
    """Return the live generation's folder, if there is one.

    Raises:
        IndexUnavailableError: that can't be told, which is no reason to build another.
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
        IndexUnusableError: it is damaged, or laid out in another way.
    """
    with tantivy_errors(folder):
        meta = msgspec.json.decode((folder / _META).read_bytes(), type=_GenerationMeta)
    if meta.layout != LAYOUT:
        raise IndexUnusableError(f"this version can't use the index in {folder}; `cachesync sync` builds it anew")
    return EmbeddedGeneration(folder, meta.fields, outdated=meta.fingerprint != fingerprint())


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Change something in a folder.

    Raises:
        IndexUnavailableError: the file system refuses it.
    """
    try:
        yield
    except OSError as error:
        raise IndexUnavailableError(f"cannot change the index in {folder}: {error}") from error


class _EmbeddedWriter:
    """The one writer."""

    def __init__(self, folder: Path, keep: int, hold: Hold) -> None:
        self._folder = folder
        self._keep = keep
        self._hold = hold
        self._notes = SmallFiles(folder / _NOTES)
        self._fresh_link = folder / f"{_LIVE}.new"
        self._new_pin = folder / f"{_PIN}.new"
        self._known: Path | None = None
        """The live generation, when it was last looked at."""
        self._building: Path | None = None
        """What must not be removed, though it was never live."""
        self._told = Once()
        """Why the live generation can't be used."""

    def live(self) -> Generation | None:
        """Open the live generation."""
        self._hold.confirm()
        folder = _live(self._folder)
        self._known = None
        with _changing(self._folder):
            self._tidy(folder)
            if folder is None:
                return None
            self._prune()
        try:
            generation = _open(folder)
            generation.tidy()
        except IndexUnusableError as error:
            if self._told.is_news(str(error)):
                _log.warning("the index can't be used and is built anew", reason=str(error))
            return None
        self._told.over()
        self._known = folder
        return generation

    def intact(self) -> bool:
        """Look whether lock, link and what tells of the live generation are in their places."""
        return (
            self._known is not None
            and self._hold.is_in_place
            and _live(self._folder) == self._known
            and all(_is_there(self._known / name) for name in (_META, _TANTIVY_META))
        )

    def signals(self) -> int:
        """Return a digest of which notes there are, and when each was written."""
        return self._notes.state()

    def replaced(self) -> Reader | None:
        """Open the live generation, whoever made it, or else the latest one."""
        folder = _live(self._folder) or next(iter(_kept(self._folder, 1)), None)
        return EmbeddedGeneration(folder) if folder else None

    def pinned(self) -> bool:
        """Tell whether the live generation is one that a rollback has gone back to."""
        live = _live(self._folder)
        if live is None or live.name not in _pinned(self._folder):
            return False
        self._known = live
        return True

    def build(self) -> Generation:
        """Make the folder of a new generation. What tells that it is ours and unfinished comes first."""
        self._hold.confirm()
        live = _live(self._folder)
        self._building = None
        try:
            self._tidy(live)
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
        """Nothing is missing: what was written is on the disk."""

    def promote(self, generation: Generation) -> None:
        """Point the link at a generation by one rename."""
        self._hold.confirm()
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
            _log.warning("older generations are left for the next run to remove", reason=str(error))

    def rollback(self, to: str | None = None) -> str:
        """Point the link back to the generation before. The pin takes effect with it."""
        self._hold.confirm()
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
            pinned = [live] if live.name in _pinned(self._folder) else []  # and stays so if the link isn't changed
            self._pin(before, *pinned)
            self._point_to(before)
        if pinned:
            with contextlib.suppress(OSError):  # it is done; versions that know of one name alone need this
                self._pin(before)
        return before.name

    def _pin(self, *generations: Path) -> None:
        """Hold syncs while one of these is live."""
        names = " ".join(each.name for each in generations)
        write_whole(self._folder / _PIN, self._new_pin, names.encode())

    def _point_to(self, folder: Path) -> None:
        self._fresh_link.unlink(missing_ok=True)
        self._fresh_link.symlink_to(folder.name)
        self._fresh_link.replace(self._folder / _LIVE)
        self._known = folder

    def _require_room(self, live: Path | None) -> None:
        """Make sure that there is room for a second generation beside the live one.

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
        """Remove what a rollback needn't go back to."""
        kept = _kept(self._folder, self._keep)
        self._remove([each for each in _generations(self._folder).values() if each not in kept])

    def _tidy(self, live: Path | None) -> None:
        """Remove what interrupted writers have left."""
        for fresh in (self._fresh_link, self._new_pin):
            _unlink(fresh)
        if live and live.is_dir():
            _unlink(live / _BUILDING)  # it has gone live, and nobody came to say so
        for folder in _half_removed(self._folder):
            remove_tree(folder)
        if (knocks := self._folder / _KNOCKS).is_dir():
            remove_tree(knocks)
        self._remove(self._unfinished())

    def _unfinished(self) -> Iterator[Path]:
        """Find what interrupted builds have left."""
        for folder in _generations(self._folder).values():
            if folder.is_dir() and ((folder / _BUILDING).exists() or not any(folder.iterdir())):
                yield folder

    def _remove(self, folders: Iterable[Path]) -> None:
        """Remove generations, but never the live one or the one that is built, and nothing that isn't ours."""
        live = _live(self._folder)
        for folder in list(folders):
            if folder in (live, self._building):
                continue
            if not folder.is_symlink() and ((folder / _META).exists() or not _foreign_files(folder)):
                _remove_folder(folder)


def _remove_folder(folder: Path) -> None:
    """Remove a generation; what of it can't be removed now is the next writer's to try, and in nobody's way."""
    removed = folder.with_name(f"{folder.name}{_REMOVED}")
    if not removed.exists():  # else another had this number
        with contextlib.suppress(FileNotFoundError):  # another thread of the writer was first
            folder.rename(removed)
    remove_tree(removed)
    if removed.exists():
        _log.warning("older generations are left for the next run to remove", reason=f"{removed} can't be removed")


def _unlink(file: Path) -> None:
    """Remove a file if it is there: where all is read-only, even removing what isn't is refused."""
    if os.path.lexists(file):
        file.unlink(missing_ok=True)


def _foreign_files(folder: Path) -> bool:
    """Tell whether a folder without our mark holds anything."""
    return not folder.is_dir() or any(entry.name != _BUILDING for entry in folder.iterdir())
