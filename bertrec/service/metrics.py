"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, PlatformCollector, ProcessCollector, generate_latest

from bertrec.core.version import __version__
from bertrec.service.batching import Batcher
from bertrec.service.holder import Holder

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters of one service."""

    def __init__(self, holder: Holder, batcher: Batcher) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("bertrec", "What serves.", registry=registry).info({"version": __version__, "model": holder.current.model.name})
        self._requests = Counter("bertrec_requests", "Requests answered.", ["method", "path", "status"], registry=registry)
        self._seconds = Histogram("bertrec_request_seconds", "Seconds to an answer.", ["path"], buckets=_SECONDS, registry=registry)
        self.in_flight = Gauge("bertrec_requests_in_flight", "Requests being answered.", registry=registry)
        self.written = Counter("bertrec_items_written", "Items that were put.", ["change"], registry=registry)
        for name, text, value in (
            ("bertrec_items", "Items that can be recommended.", lambda: int(holder.current.listed.sum())),
            ("bertrec_reloads", "New states taken up since the start.", lambda: holder.reloads),
            ("bertrec_reload_failures", "New states that could not be served.", lambda: holder.failures),
            ("bertrec_stale", "1 while a newer state cannot be served.", lambda: holder.problem is not None),
            ("bertrec_batches", "Products in which lists were made.", lambda: batcher.batches),
            ("bertrec_batched_lists", "Lists that were made in them.", lambda: batcher.jobs),
        ):
            Gauge(name, text, registry=registry).set_function(value)

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_written(self, counts: dict[str, int]) -> None:
        """Count items that were put."""
        for change in ("new", "changed", "described", "returned"):
            self.written.labels(change).inc(counts[change])

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)
