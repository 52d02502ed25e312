"""The system calls by which a process changes files, one by one, before they happen.

Linux asks us before each of them (seccomp's user notification; libseccomp has the numbers by architecture), whichever
thread makes it. Who asked waits until it is told to go on. If it is killed instead, the call isn't carried out [tried
on Linux 6.18]. That needs no rights and no tracer. What a kill leaves is what the calls before it have made of the
files, so calls that only make files last (``fsync``) or lock them are no steps.
"""

import contextlib
import ctypes
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

_BY_PATH: Final = {
    "open": (0, None),
    "creat": (0, None),
    "mkdir": (0, None),
    "rmdir": (0, None),
    "unlink": (0, None),
    "rename": (1, None),
    "link": (1, None),
    "symlink": (1, None),
    "chmod": (0, None),
    "truncate": (0, None),
    "openat": (1, 0),
    "mkdirat": (1, 0),
    "unlinkat": (1, 0),
    "renameat": (3, 2),
    "renameat2": (3, 2),
    "linkat": (3, 2),
    "symlinkat": (2, 1),
    "fchmodat": (1, 0),
}
"""Calls that name a file: which argument is the path, and which the folder that it begins at."""

_BY_HANDLE: Final = ("write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate", "fchmod")
"""Calls on an open file, their first argument."""

_FLAGS: Final = {"open": 1, "openat": 2}
_CHANGING: Final = os.O_CREAT | os.O_TRUNC
"""Opening a file changes nothing without these flags."""

_ALLOW: Final = 0x7FFF0000
_NOTIFY: Final = 0x7FC00000
_CONTINUE: Final = 1
_NOTIFICATIONS: Final = 5
"""The level of libseccomp's interface that knows notifications."""

_MAX_PATH: Final = 4096


class _Asked(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("number", ctypes.c_int),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


class _Answer(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_uint64),
        ("value", ctypes.c_int64),
        ("error", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    )


def _library() -> Any:
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_load.argtypes = library.seccomp_notify_fd.argtypes = [ctypes.c_void_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    ]
    library.seccomp_notify_id_valid.argtypes = [ctypes.c_int, ctypes.c_uint64]
    library.seccomp_notify_receive.argtypes = library.seccomp_notify_respond.argtypes = [ctypes.c_int, ctypes.c_void_p]
    return library


def missing() -> str | None:
    """Say what keeps this machine from it; None: nothing."""
    try:
        level = _library().seccomp_api_get()
    except OSError:
        return "libseccomp is missing"
    return None if level >= _NOTIFICATIONS else "this kernel doesn't tell of system calls"


def listen() -> int:
    """From now on ask before each such call of this process, and return where that is answered.

    Who has that handle must answer by :func:`until`, or this process waits for ever.
    """
    library = _library()
    library.seccomp_api_get()  # else notifications are refused
    rules = library.seccomp_init(_ALLOW)
    for name in (*_BY_PATH, *_BY_HANDLE):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # architectures differ in what they have
            assert not library.seccomp_rule_add_array(rules, _NOTIFY, number, 0, None)
    assert not library.seccomp_load(rules)
    handle: int = library.seccomp_notify_fd(rules)
    return handle


def until(
    pid: int, listener: int, folder: Path, is_last: Callable[[str], bool], deadline: float = math.inf
) -> Iterator[str]:
    """Yield each call that changes files in ``folder``, and kill the process when it comes to one that is to be the last.

    Raises:
        AssertionError: the process is still running at ``deadline``, by the monotonic clock.
    """
    library = _library()
    library.seccomp_api_get()
    names = {library.seccomp_syscall_resolve_name(name.encode()): name for name in (*_BY_PATH, *_BY_HANDLE)}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        ready = poll.poll(None if math.isinf(left) else max(0, 1_000 * left))
        assert ready, f"still running, and changing files in {folder}: expected it to end by now"
        if not ready[0][1] & select.POLLIN:  # it has ended
            return
        asked = _Asked()
        if library.seccomp_notify_receive(listener, ctypes.byref(asked)):
            continue  # who asked has ended
        name = names[asked.number]
        path = _path(asked, name)
        if library.seccomp_notify_id_valid(listener, asked.id):
            continue  # who asked has ended since, and the path may be of another
        if path and path.is_relative_to(folder):
            call = f"{name} {path.relative_to(folder)}"
            yield call
            if is_last(call):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                return
        answer = _Answer(asked.id, 0, 0, _CONTINUE)
        library.seccomp_notify_respond(listener, ctypes.byref(answer))


def _path(asked: _Asked, name: str) -> Path | None:
    """Return what a call is about to change, if it is a file and will change; None also if who asked has ended."""
    arguments = asked.arguments
    if name in _FLAGS and not arguments[_FLAGS[name]] & _CHANGING:
        return None
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # or a handle that isn't open
        return _named(asked, name)
    return None


def _named(asked: _Asked, name: str) -> Path:
    """Return what a call names.

    Raises:
        FileNotFoundError: it names a handle that isn't open, or who asked has ended.
        ProcessLookupError: who asked has ended.
    """
    arguments = asked.arguments
    if name in _BY_HANDLE:
        return _link(asked.pid, f"fd/{arguments[0]}")
    argument, start = _BY_PATH[name]
    with Path(f"/proc/{asked.pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(arguments[argument])
        path = os.fsdecode(memory.read(_MAX_PATH).partition(b"\0")[0])
    folder = None if start is None else ctypes.c_int(arguments[start]).value
    return _link(asked.pid, "cwd" if folder is None or folder < 0 else f"fd/{folder}") / path


def _link(pid: int, name: str) -> Path:
    return Path(os.readlink(f"/proc/{pid}/{name}"))
