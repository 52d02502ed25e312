"""From the bytes of a page with 4,663 specs to the bytes of its documents, compared with msgspec's bare decode."""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from cachesync.documents import Rendered, render
from cachesync.pages.page import Page, parse
from cachesync.pages.spec import Spec
from examples.pages import BIGGEST_PAGE, big_page

_PATH: Final = "_cache/develop/py-torch/specs.md"
_ROUNDS: Final = 15


def measure() -> dict[str, Any]:
    """Time a page and the bare decoding of its specs, alternating; the best of each counts, since noise only adds."""
    data = big_page()
    details = data.split(b"spec_details: ")[1].rsplit(b"\n", 1)[0]
    typed, plain = msgspec.json.Decoder(list[Spec]), msgspec.json.Decoder()
    work: dict[str, Callable[[], object]] = {
        "whole": lambda: _documents(data),
        "decode_typed": lambda: typed.decode(details),
        "decode_plain": lambda: plain.decode(details),
    }
    best = dict.fromkeys(work, float("inf"))
    for _ in range(_ROUNDS):
        for name, function in work.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
    return {
        "specs": BIGGEST_PAGE,
        "bytes": len(data),
        **{f"{name}_us_per_spec": seconds / BIGGEST_PAGE * 1e6 for name, seconds in best.items()},
        "ratio_to_typed": best["whole"] / best["decode_typed"],
        "ratio_to_plain": best["whole"] / best["decode_plain"],
    }


def _documents(data: bytes) -> Rendered:
    page = parse(_PATH, data)
    assert isinstance(page, Page)
    rendered = render(page)
    assert isinstance(rendered, dict)
    return rendered
