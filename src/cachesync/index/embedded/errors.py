"""Translates tantivy's errors into ours."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from cachesync.errors import IndexUnavailableError, IndexUnusableError


@contextlib.contextmanager
def tantivy_errors(folder: Path) -> Iterator[None]:
    """Translate tantivy's errors and panics into ours.

    System errors (permissions, disk space, open files) are temporary and harmless. Any other error means that the index
    is corrupt.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, msgspec.MsgspecError) as error:
        raise _translated(folder, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a panic in Rust, whose class can't be imported
            raise
        raise _translated(folder, error) from error


def _translated(folder: Path, error: BaseException) -> IndexUnavailableError:
    system = _SYSTEM_ERROR.search(str(error))  # in tantivy's messages, system errors have Rust's debug format
    number = error.errno if isinstance(error, OSError) else int(system[1]) if system else None
    if number is not None and number not in _DAMAGE:
        return IndexUnavailableError(f"cannot use the index in {folder}: {os.strerror(number)}")
    return IndexUnusableError(
        f"the index in {folder} is damaged: {error}\n"
        "Run `cachesync sync`, which rebuilds it. If that finds nothing to do, remove this folder first"
    )


_SYSTEM_ERROR: Final = re.compile(r"Os \{ code: (\d+)")
_DAMAGE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL})
