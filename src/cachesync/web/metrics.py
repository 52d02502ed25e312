"""Prometheus metrics of the web server."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_USUAL: Final = ("200", "304", "400", "404", "500", "503", "504")


class WebMetrics:
    """Counts and times requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self._requests = Counter(
            "cachesync_http_requests_total", "HTTP requests that were answered.", ("status",), registry=registry
        )
        for status in _USUAL:
            self._requests.labels(status)  # rate() misses the first request of a series that didn't start at 0
        self._seconds = Histogram(
            "cachesync_http_request_seconds",
            "How long it took to answer HTTP requests, until the end of the answer was sent.",
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, status: int, seconds: float) -> None:
        """Record a response: its status and how long it took."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)


class ServerMetrics:
    """The metrics of a process that serves HTTP, in their own registry."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.web = WebMetrics(self._registry)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format, see :data:`CONTENT_TYPE`."""
        return generate_latest(self._registry)
