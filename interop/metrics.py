"""What is counted, in a registry of our own; `/metrics` shows it in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """One per server. Labels never hold what an unauthenticated peer may choose."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.received = Counter("gridparley_received", "Messages received", ["adapter", "receipt"], registry=r)
        self.processed = Counter("gridparley_processed", "Messages handled", ["adapter", "verdict"], registry=r)
        self.refused = Counter("gridparley_refused", "Input that became no message", ["adapter", "rule"], registry=r)
        self.sent = Counter("gridparley_sent", "Delivery tries", ["adapter", "outcome"], registry=r)
        self.dispatches = Counter("gridparley_dispatch_updates", "Dispatch status changes", ["status"], registry=r)
        self.alarms = Counter("gridparley_alarms", "Alarms", ["rule"], registry=r)
        self.samples = Counter("gridparley_telemetry_samples", "Telemetry samples taken", registry=r)
        self.receive_s = Histogram(
            "gridparley_receive_seconds", "Time until a message is durable", buckets=_FAST, registry=r
        )
        self.process_s = Histogram(
            "gridparley_process_seconds", "Time to decide on a message", buckets=_FAST, registry=r
        )
        self.group = Histogram(
            "gridparley_commit_group", "Batches per commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=r
        )
        self.inbox = Gauge("gridparley_inbox", "Rows of the inbox", ["state"], registry=r)
        self.outbox = Gauge("gridparley_outbox", "Rows of the outbox", ["state"], registry=r)
        self.ready = Gauge("gridparley_ready", "1 when the server is ready", registry=r)
        self.adapter = Gauge("gridparley_adapter_ready", "1 when the adapter is ready", ["adapter"], registry=r)
        self.lag_s = Gauge("gridparley_loop_lag_seconds", "How late the event loop is", registry=r)

    def text(self) -> bytes:
        return generate_latest(self.registry)
