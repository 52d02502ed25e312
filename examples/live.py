"""Run a program, and change example pages every few seconds for as long as it runs.

python -m examples.live DIR PROGRAM [ARGUMENT…]
"""

import argparse
import contextlib
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from examples.packages import packages
from examples.pages import page, shape_of, spec

_EVERY_SECONDS: Final = 3.0
_NUMBER_OF_SPECS: Final = re.compile(rb'"num_specs": (\d+)')


def change(root: Path, random_: random.Random) -> None:
    """Change one page as an editor or a mirror would: give it other specs, delete it, or add a new one."""
    pages = sorted(root.glob("_cache/*/*/specs.md"))
    old = random_.choice(pages)
    package, tag = old.parent.name, old.parent.parent.name
    action = random_.choice(("edit", "edit", "edit", "add", "delete"))
    if action == "delete":
        old.unlink()
        return
    if action == "add":
        present = {file.parent.name for file in pages if file.parent.parent.name == tag}
        package = random_.choice([name for name in packages() if name not in present] or [package])
    shape = shape_of(tag)
    file = root / "_cache" / tag / package / "specs.md"
    file.parent.mkdir(exist_ok=True)
    temporary = file.with_name(".specs.md")
    size = max(1, _size(old) + random_.randint(-1, 1))
    temporary.write_bytes(page(package, tag, [spec(random_, shape, package) for _ in range(size)], shape))
    temporary.replace(file)


def _size(file: Path) -> int:
    """Return a page's number of specs. New pages get about as many, so that the total stays the same."""
    number = _NUMBER_OF_SPECS.search(file.read_bytes())
    return int(number[1]) if number else 1


def main() -> int:
    """Change pages until the program ends, and return its exit code."""
    parser = argparse.ArgumentParser(description="Change example pages while a program runs.")
    parser.add_argument("root", type=Path)
    parser.add_argument("program", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    random_ = random.Random()
    with subprocess.Popen(arguments.program) as running:  # noqa: S603  the user's own command
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *caught: _pass_on(running, caught[0]))
        while running.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(_EVERY_SECONDS)
                break
            change(arguments.root, random_)
    return running.returncode


def _pass_on(running: subprocess.Popen[bytes], number: int) -> None:
    """Terminate the program on SIGTERM. Ctrl-C needs no forwarding: the terminal sends it to the program, too."""
    if number == signal.SIGTERM:
        running.terminate()


if __name__ == "__main__":
    sys.exit(main())
