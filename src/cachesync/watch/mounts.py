"""The file systems that the pages are on, from the list in proc_pid_mountinfo(5)."""

import os
import re
import select
from pathlib import Path
from typing import Final, NamedTuple, Self

from cachesync.sync.scan import Source

MOUNTINFO: Final = Path("/proc/self/mountinfo")

_BLIND: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "coda", "9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs"),
        *("lustre", "gpfs", "ceph", "beegfs", "orangefs", "pvfs2", "gfs2", "ocfs2", "wekafs"),
        *("overlay", "aufs", "ecryptfs"),
    }
)
"""File systems that can be written to without this kernel noticing: by another machine, by the host of a virtual
machine, or in the layer below. The names are those in /proc/filesystems, which mount(8) accepts."""


class Mount(NamedTuple):
    """A mounted file system."""

    point: str
    type: str

    @property
    def blind(self) -> bool:
        """Whether the file system can be written to without this kernel noticing."""
        return self.type in _BLIND or self.type == "fuse" or self.type.startswith("fuse.")


def mounts(source: Source) -> list[Mount]:
    """Return the file system that the root is on, if it is known, and all that are mounted in watched folders."""
    root = os.path.realpath(source.root).rstrip("/") + "/"
    above, below = [], []
    for mount in _all():
        point = mount.point.rstrip("/") + "/"
        if root.startswith(point):
            above.append(mount)
        elif point.startswith(root) and source.pattern.may_lead_to_pages(point.removeprefix(root)):
            below.append(mount)
    # If one file system is mounted over another, the later one is on top.
    nearest = max(enumerate(above), key=lambda each: (len(each[1].point), each[0]), default=None)
    return ([nearest[1]] if nearest else []) + sorted(below)


def _all() -> list[Mount]:
    try:
        lines = os.fsdecode(MOUNTINFO.read_bytes()).rstrip("\n").split("\n")
    except OSError:
        return []
    found = []
    for line in lines:
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), left.split(" ")[4])
        found.append(Mount(point, right.split(" ")[0]))
    return found


class MountTable:
    """Detects that file systems in watched folders were mounted or unmounted, which inotify doesn't report."""

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            self._fd = os.open(MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLPRI) if self._fd >= 0 else None
        self._before = mounts(source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def changed(self) -> bool:
        """Return whether mounts in watched folders have changed. This is cheap while nothing is mounted anywhere."""
        return bool(self._poll.poll(0)) and mounts(self._source) != self._before
