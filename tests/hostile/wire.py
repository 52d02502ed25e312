"""What goes wrong between cachesync and Elasticsearch: weather for a proxy, drawn from a seed.

Each request that meets bad weather is treated in one of the ways of :data:`FAULTS`. Which one is drawn in the order in
which requests come, so a seed gives the same weather again as far as the requests are the same.
"""

import contextlib
import json
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from tests.hostile.tally import TALLY
from tests.support.proxy import Answer, Cut, Proxy, Request, refusal

_SLOW_SECONDS: Final = 0.3
_LATE_SECONDS: Final = 2.0
"""How long a request is held back: past the retry that is made for it meanwhile."""


class Weather:
    """The deed of a proxy: it only passes requests on until there is a storm."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        """What was done to which request, since the last storm began."""
        self._proxy: Proxy | None = None
        self._faults: list[str] = []
        self._odds = 0.0
        self._random = random.Random(0)
        self._lock = threading.Lock()
        self._calm = threading.Event()
        self._calm.set()
        self._passed = threading.Condition()
        self._late: list[threading.Thread] = []
        self._strike: Strike | None = None

    def before(self, upstream: str) -> Proxy:
        """Return a proxy before a server, in this weather."""
        self._proxy = Proxy(upstream, self)
        return self._proxy

    def storm(self, faults: list[str], odds: float, seed: int) -> None:
        """Let requests meet some of :data:`FAULTS` from now on, each with these odds."""
        with self._lock:
            self._faults, self._odds, self._random = faults, odds, random.Random(seed)
            self.seen.clear()
            self._calm.clear()

    def strike(self, strike: "Strike") -> None:
        """Let one of the next requests be the last thing that whoever sends it does."""
        with self._lock:
            self._strike = strike

    def withdraw(self, strike: "Strike") -> bool:
        """Call a strike off, and tell whether there still was time."""
        with self._lock:
            in_time = self._strike is strike
            self._strike = None
        return in_time

    def calm(self) -> None:
        """End all that goes wrong, and wait until whatever is still held back has reached the server."""
        with self._lock:
            self._faults = []
            self._strike = None
            self._calm.set()
            late, self._late = self._late, []
        with self._passed:
            self._passed.notify_all()
        for each in late:
            each.join()

    @property
    def is_bad(self) -> bool:
        """Whether there is a storm."""
        return not self._calm.is_set()

    def __call__(self, request: Request) -> Answer:
        """Pass a request on, as the weather is."""
        with self._lock:
            fault = self._random.choice(self._faults) if self._faults and self._random.random() < self._odds else None
            drawn = random.Random(self._random.random())
            if fault:
                self.seen.append(f"{fault} {request.method} {request.path}")
            strike = self._strike if self._strike and self._strike.is_due(request) else None
            if strike:
                self._strike = None
        if strike:
            self._struck(strike, request)
        try:
            answer = FAULTS[fault](self, request, drawn) if fault else None
            return answer or self.send(request)
        finally:
            if fault and not (fault == "in_part" and "/_bulk" not in request.path):
                TALLY[f"request {fault}"] += 1
            with self._passed:
                self._passed.notify_all()

    def _struck(self, strike: "Strike", request: Request) -> NoReturn:
        if not strike.before:
            self.send(request)
        strike.deed()
        TALLY[f"request at which the service dies, {'before' if strike.before else 'after'} it is carried out"] += 1
        raise Cut

    def send(self, request: Request) -> Answer:
        """Let the server have a request."""
        assert self._proxy
        return self._proxy.send(request)

    def dropped(self, request: Request, drawn: random.Random) -> None:  # noqa: ARG002  all faults are called alike
        """The request is lost on its way."""
        raise Cut

    def reset(self, request: Request, drawn: random.Random) -> None:  # noqa: ARG002
        """The connection is reset before the request arrives."""
        raise Cut(reset=True)

    def unanswered(self, request: Request, drawn: random.Random) -> None:
        """The request is carried out, and its answer is lost."""
        self.send(request)
        raise Cut(reset=drawn.random() < 0.5)

    def truncated(self, request: Request, drawn: random.Random) -> None:
        """The request is carried out, and its answer ends too soon."""
        answer = self.send(request)
        lines = [f"HTTP/1.1 {answer.status} OK", *(f"{name}: {value}" for name, value in answer.headers)]
        head = "\r\n".join([*lines, f"Content-Length: {len(answer.body)}", "", ""]).encode()
        whole = head + answer.body
        raise Cut(whole[: drawn.randrange(len(whole))])

    def slow(self, request: Request, drawn: random.Random) -> None:  # noqa: ARG002
        """The request takes its time."""
        self._calm.wait(_SLOW_SECONDS * drawn.random())

    def reordered(self, request: Request, drawn: random.Random) -> None:  # noqa: ARG002
        """The request waits until another one has overtaken it, or until none comes."""
        with self._passed:
            self._passed.wait(_SLOW_SECONDS)

    def late(self, request: Request, drawn: random.Random) -> None:
        """The request is lost for whoever sent it, and reaches the server long after."""
        self._later(request, _LATE_SECONDS * drawn.random())
        raise Cut

    def repeated(self, request: Request, drawn: random.Random) -> Answer:
        """The request is carried out, and once more long after."""
        answer = self.send(request)
        self._later(request, _LATE_SECONDS * drawn.random())
        return answer

    def refused(self, request: Request, drawn: random.Random) -> Answer:  # noqa: ARG002
        """The server, or something before it, has no time."""
        return drawn.choice(
            [
                refusal(429, "es_rejected_execution_exception"),
                refusal(429, "circuit_breaking_exception"),
                refusal(503, "unavailable_shards_exception"),
                *(Answer(status, [("Content-Type", "text/html")], b"<html>") for status in (502, 503, 504)),
            ]
        )

    def done_and_refused(self, request: Request, drawn: random.Random) -> Answer:
        """The request is carried out, but a gateway has no patience for the answer."""
        self.send(request)
        return self.refused(request, drawn)

    def in_part(self, request: Request, drawn: random.Random) -> Answer | None:
        """Some of the items of a bulk request fail, and the answer is 200. Other requests are left alone."""
        if "/_bulk" not in request.path:
            return None
        return in_part(request, lambda: drawn.random() < 0.3, drawn.choice(_ITEM_ERRORS), self.send)

    def hanging(self, request: Request, drawn: random.Random) -> None:  # noqa: ARG002
        """The request isn't answered for as long as the storm lasts."""
        self._calm.wait()
        raise Cut

    def _later(self, request: Request, seconds: float) -> None:
        def deliver() -> None:
            self._calm.wait(seconds)
            with contextlib.suppress(Cut):  # the server is away by then
                self.send(request)

        thread = threading.Thread(target=deliver, daemon=True)
        with self._lock:
            thread.start()
            self._late.append(thread)
            too_late = self._calm.is_set()
        if too_late:  # it has become calm just now
            thread.join()


class Strike:
    """When whoever sends requests is to die, and how."""

    def __init__(self, number: int, deed: Callable[[], None], *, before: bool) -> None:
        """``number``: of how many writing requests it is the last; ``before``: that one isn't carried out any more."""
        self.deed = deed
        self.before = before
        self._left = number

    def is_due(self, request: Request) -> bool:
        """Tell whether this is the request."""
        self._left -= "_bulk" in request.path or request.method in ("PUT", "DELETE") or "_aliases" in request.path
        return self._left <= 0


FAULTS: Final[dict[str, Callable[[Weather, Request, random.Random], Answer | None]]] = {
    each.__name__: each
    for each in (
        Weather.dropped,
        Weather.reset,
        Weather.unanswered,
        Weather.truncated,
        Weather.slow,
        Weather.reordered,
        Weather.late,
        Weather.repeated,
        Weather.refused,
        Weather.done_and_refused,
        Weather.in_part,
        Weather.hanging,
    )
}
"""The ways in which a request can be treated, by name."""

_ITEM_ERRORS: Final = (
    (429, "es_rejected_execution_exception"),
    (503, "unavailable_shards_exception"),
    (403, "cluster_block_exception"),
)


def in_part(
    request: Request, fails: Callable[[], bool], error: tuple[int, str], send: Callable[[Request], Answer]
) -> Answer:
    """Let a server carry out some of the operations of a bulk request, and answer as if it had refused the others."""
    failed = [_GUARD not in lines and fails() for lines in _operations(request.body)]
    kept = b"".join(lines for lines, fail in zip(_operations(request.body), failed, strict=True) if not fail)
    carried_out: Iterator[Any] = iter(())
    headers = [("Content-Type", "application/json"), ("X-Elastic-Product", "Elasticsearch")]
    if kept:
        answer = send(request._replace(path=request.path.partition("?")[0] + _asked(request), body=kept))
        if answer.status != 200:
            return answer
        headers, carried_out = answer.headers, iter(json.loads(answer.body)["items"])
    status, kind = error
    items = []
    for lines, fail in zip(_operations(request.body), failed, strict=True):
        ((action, about),) = json.loads(lines.partition(b"\n")[0]).items()
        refused = {"_id": about["_id"], "status": status, "error": {"type": kind, "reason": "for a test"}}
        items.append({action: refused} if fail else next(carried_out))
    errors = any("error" in each for item in items for each in item.values())
    return Answer(200, headers, json.dumps({"took": 1, "errors": errors, "items": items}).encode())


_GUARD: Final = b'"_id":"guard"'
"""An operation that makes the rest of its request safe, so none of a network's pranks may take it away."""


def _asked(request: Request) -> str:
    """Return the parameters of a request without those that leave parts of the answer out."""
    _, _, query = request.path.partition("?")
    kept = [each for each in query.split("&") if each and not each.startswith("filter_path=")]
    return "?" + "&".join(kept) if kept else ""


def _operations(body: bytes) -> Iterator[bytes]:
    """Yield the lines of each operation of a bulk request."""
    lines = iter(body.splitlines(keepends=True))
    for line in lines:
        yield line if b'"delete"' in line[:20] else line + next(lines)
