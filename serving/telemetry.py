"""What does the service count? Prometheus metrics, given at /metrics."""

from functools import lru_cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("digits_requests_total", "Requests by route, method and status", ["route", "method", "status"])
SECONDS = Histogram(
    "digits_request_seconds",
    "From a request's arrival to the end of its answer",
    ["route"],
    buckets=(0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)
ANSWERS = Counter(
    "digits_answers_total", "Images by version and digit; none where no single digit was found", ["version", "digit"]
)
CONFIDENCE = Histogram(
    "digits_confidence",
    "Probability of the digit that was answered",
    buckets=(0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
)
BATCH = Histogram("digits_batch_images", "Images computed at once", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 1024))
VERSION = Gauge("digits_model_version", "1 for each version that is loaded", ["alias", "version"])
FAULT = Gauge("digits_registry_fault", "1 while the registry does not answer or its champion's file is not usable")
REMEMBERED = Gauge("digits_memory_written", "Images written to the store since the start")
DROPPED = Gauge("digits_memory_dropped", "Images that the store could not take since the start")
CORRECTIONS = Counter("digits_corrections_total", "Corrections by people")


@lru_cache(1024)
def child(metric: Counter | Histogram, *labels: str) -> Any:
    """``metric.labels(*labels)``, which takes a lock and makes texts of all of them each time."""
    return metric.labels(*labels)
