"""Small pages and trees, made for one test."""

import json
import os
from pathlib import Path
from typing import Any


def entry(hash: str = "aaaa", **fields: Any) -> dict[str, Any]:
    """One entry of ``spec_details``; give a field None to leave it out."""
    full = {
        "hash": hash,
        "versions": ["1.2.3"],
        "compiler": "gcc@11.4.0",
        "os": "ubuntu22.04",
        "platform": "linux",
        "target": "x86_64_v3",
        "variants": ["+mpi", "build_system=cmake"],
        "stacks": ["e4s", "root"],
        "size": "-",
        **fields,
    }
    return {name: value for name, value in full.items() if value is not None}


def page(*entries: dict[str, Any], title: str = "zlib", tag: str = "develop") -> bytes:
    """A page of today's shape."""
    return raw_page(json.dumps(list(entries)), title, tag)


def raw_page(details: str | bytes, title: str = "zlib", tag: str = "develop") -> bytes:
    """A page whose ``spec_details`` is anything."""
    details = details if isinstance(details, bytes) else details.encode()
    head = f'---\ntitle: "{title}"\nlayout: cache\ncategories: [package, {tag}]\nmeta: {{"num_specs": 1}}\n'
    return head.encode() + b"spec_details: " + details + b"\n---"


def path_of(package: str = "zlib", tag: str = "develop") -> str:
    return f"_cache/{tag}/{package}/specs.md"


def put(root: Path, data: bytes, package: str = "zlib", tag: str = "develop") -> Path:
    """Save a page the way editors and rsync do: a new file, renamed over the old one."""
    file = root / path_of(package, tag)
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(".fresh")
    fresh.write_bytes(data)
    os.replace(fresh, file)
    return file
