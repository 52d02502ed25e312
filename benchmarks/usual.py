"""The usual approach, for comparison: PyYAML and the client's ``parallel_bulk``, both with their defaults.

The front matter of each page is loaded by ``yaml.CSafeLoader``, and each spec becomes a document with its fields
unchanged and an id. There are four threads and 500 documents a request, which are the defaults, and the index is
created by the first document, with a mapping that the server guesses. It runs as a separate process:

    python -m benchmarks.usual URL INDEX ROOT TAG…
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from elasticsearch import Elasticsearch
from elasticsearch.helpers import parallel_bulk


def load(url: str, index: str, root: Path, tags: Sequence[str]) -> int:
    """Load the pages of these tags and refresh the index, and return how many documents were sent."""
    client = Elasticsearch(url)
    sent = sum(done for done, _ in parallel_bulk(client, _documents(root, tags, index)))
    client.indices.refresh(index=index)
    return sent


def _documents(root: Path, tags: Sequence[str], index: str) -> Iterator[dict[str, Any]]:
    for tag in tags:
        for file in sorted((root / "_cache" / tag).rglob("specs.md")):
            text = file.read_text().strip().removeprefix("---").removesuffix("---")
            page = yaml.load(text, Loader=yaml.CSafeLoader)
            for spec in page["spec_details"]:
                id = f"{tag}/{page['title']}/{spec['hash']}"
                yield {"_index": index, "_id": id, "package": page["title"], "tag": tag, **spec}


def main() -> None:
    """Load the pages, and print the number of specs."""
    url, index, root, *tags = sys.argv[1:]
    print(json.dumps({"specs": load(url, index, Path(root), tags)}))


if __name__ == "__main__":
    main()
