"""Real pages: each field of each document is what the page says, by an evaluation of its own."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.support.said import said
from tests.support.sandbox import Sandbox
from tests.support.shared import REAL_PAGES, needs_real_pages

TODAYS_NAMES = {"oneapi": "intel-oneapi-compilers", "clang": "llvm"}


def said_by(file: Path) -> dict[str, dict[str, Any]]:
    """Read a page with plain YAML and say what its documents must be, but for the keys that sort versions."""
    front = yaml.load(file.read_text().split("---")[1], Loader=yaml.BaseLoader)
    tag = front["categories"][1]
    page = file.relative_to(REAL_PAGES).as_posix()
    common = {"package": front["title"], "tag": tag, "page": page}
    if date := re.search(r"\d{4}-\d\d-\d\d$", tag):
        common["tag_date"] = date[0]
    found = {}
    for each in front.get("spec_details", []):
        compiler = each["compiler"].replace("@=", "@")
        name, version = compiler.split("@")
        switches = "".join(variant for variant in each["variants"] if variant[0] in "+~")
        values = "".join(f" {variant}" for variant in each["variants"] if variant[0] not in "+~")
        arch = f"{each['platform']}-{each['os']}-{each['target']}"
        assert each["size"] == "-"
        found[f"{tag}/{front['title']}/{each['hash']}"] = {
            **common,
            **{field: each[field] for field in ("hash", "os", "platform", "target", "variants", "stacks")},
            **said(each["hash"], each["hash"], each["variants"]),
            "version": each["versions"][0],
            "compiler": compiler,
            "compiler_name": TODAYS_NAMES.get(name, name),
            "compiler_version": version,
            "spec": f"{front['title']}@{each['versions'][0]}{switches}{values} arch={arch} %{compiler}",
        }
    return found


@needs_real_pages
def test_every_real_page(sandbox: Sandbox) -> None:
    sandbox.root = REAL_PAGES
    sandbox.configure()
    sandbox.run("sync")
    documents = sandbox.documents()
    for document in documents.values():
        assert document.pop("version_key")
        document.pop("compiler_version_key")
    strings = documents.pop("v0.18/bdftopcf/dac8a9c846e4380d8fdb28f01212c262")
    assert strings.pop("binary") == "dac8a9c846e4380d8fdb28f01212c262"
    assert strings.pop("binary_number")
    assert strings == {
        "package": "bdftopcf",
        "tag": "v0.18",
        "version": "1.0.5",
        "compiler": "gcc@7.5.0",
        "compiler_name": "gcc",
        "compiler_version": "7.5.0",
        "os": "ubuntu18.04",
        "platform": "linux",
        "target": "x86_64",
        "stacks": [],
        "variants": [],
        "variant_names": [],
        "variant_values": [],
        "spec": "bdftopcf@1.0.5 arch=linux-ubuntu18.04-x86_64 %gcc@7.5.0",
        "page": "_cache/v0.18/bdftopcf/specs.md",
    }
    expected = {id: fields for file in REAL_PAGES.rglob("specs.md") for id, fields in said_by(file).items()}
    assert documents == expected
    assert sum(id.startswith("develop-2025-03-23/py-pip/") for id in documents) == 42
    found = json.loads(sandbox.run("search", "py-p", "--json", "--limit", "0").stdout)
    assert found["total"] == 42
