"""docs/fields.md, and a page that says what its examples say."""

import re
from pathlib import Path

from cachesync.documents import ABOUT
from examples.pages import page
from tests.support.pages import entry

PROJECT = Path(__file__).parents[2]
DOC = (PROJECT / "docs/fields.md").read_text(encoding="utf-8")
EXAMPLES = {name: about.example for name, about in ABOUT.items()}


def rows(title: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    table = re.findall(r"^\|.*\|$(?:\n^\|.*\|$)*", DOC.partition(f"# {title}\n")[2], re.MULTILINE)[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def example_page() -> bytes:
    """A page with the examples' binary, and with one more of the git version that the table names."""
    said = {name: EXAMPLES[name] for name in ("os", "platform", "target")}
    said |= {"compiler": EXAMPLES["compiler"].replace("@", "@=")}
    lists = {"variants": [EXAMPLES["variants"]], "stacks": [EXAMPLES["stacks"], "root"]}
    (git,) = re.findall(r"git\.\S+", ABOUT["git_ref"].meaning)
    one = entry(EXAMPLES["hash"], versions=[EXAMPLES["version"]], size=int(EXAMPLES["size"]), **said, **lists)
    other = entry("a" * 32, versions=[git], **said, **lists)
    return page(EXAMPLES["package"], EXAMPLES["tag"], [one, other], "F")
