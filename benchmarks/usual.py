"""What one would write otherwise: PyYAML and the client's ``parallel_bulk``, both as they come.

The front matter of each page by ``yaml.CSafeLoader``; a document for each spec with its fields as they are, under an id
of its own; four threads and 500 documents a request, which are the defaults; and an index that is made by the first
document, with a mapping that the server guesses. A process of its own:

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
    """Load the pages of these tags until all of it can be found, and return how many documents were sent."""
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
    """Load and say how many."""
    url, index, root, *tags = sys.argv[1:]
    print(json.dumps({"specs": load(url, index, Path(root), tags)}))


if __name__ == "__main__":
    main()
