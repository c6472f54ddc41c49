"""Reports sent: the offer at registration, and every report that is due, made of what was measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from adapters.openadr2 import model
from adapters.openadr2.model import Payload
from adapters.openadr2.session import answer
from adapters.openadr2.ven import reports
from adapters.openadr2.ven.book import Book, new_id
from adapters.openadr2.ven.client import VtnError
from adapters.openadr2.ven.services import Services
from datamodels import Quantity, Telemetry

__all__ = ["Reporter"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0
_LOOKBACK = timedelta(hours=1)


class Reporter:
    """The reports of one VTN; `say` sends a payload and returns the answer."""

    def __init__(
        self, book: Book, services: Services, lock: asyncio.Lock, say: Callable[[Payload], Awaitable[Payload | None]]
    ) -> None:
        self.book = book
        self._services = services
        self._lock = lock
        self._say = say
        self._refused: dict[str, tuple[float, float]] = {}

    def next_due(self) -> float:
        """Seconds until a report is due, infinity where none is."""
        now, wall = time.monotonic(), self.book.now
        dues = {job.id: due for job in self.book.jobs.values() if (due := reports.next_due(job)) is not None}
        waits = (
            max((due - wall).total_seconds(), self._refused.get(id, (0.0, 0.0))[1] - now) for id, due in dues.items()
        )
        return min(waits, default=float("inf"))

    async def send_due(self) -> None:
        """Send every report that is due; what was sent is noted once the VTN has it."""
        for job in list(self.book.jobs.values()):
            end = reports.due_at(job, self.book.now)
            pause, until = self._refused.get(job.id, (_FIRST_PAUSE_S, 0.0))
            if end is None or job.id not in self.book.jobs or time.monotonic() < until:
                continue
            try:
                if job.name == reports.METADATA:
                    await self.register()
                elif not await self._update(reports.Due.of(job, end)):
                    continue
            except VtnError as error:
                if not error.is_fault:
                    raise
                # The VTN is there, but cannot take this report: that must not keep it from being heard.
                self.book.refused("oadr.report.refused", f"report {job.id!r}: {error}")
                self._refused[job.id] = min(2 * pause, _LONGEST_PAUSE_S), time.monotonic() + pause
                continue
            self._refused.pop(job.id, None)
            async with self._lock:
                current = self.book.jobs.get(job.id)
                if current is not None:
                    after = reports.sent(current, end)
                    await (self.book.drop(current) if after is None else self.book.put(after))

    async def _update(self, due: reports.Due) -> bool:
        """Send one report; False where the VTN does not want it any more."""
        book, job = self.book, due.job
        points = {point.r_id: point for point in reports.offer(book.site.resources).get(job.specifier, ())}
        samples = await self._samples(due, [points[r_id] for r_id in job.points if r_id in points])
        report = reports.message(due, points, samples, book.ports.clock, book.now)
        if not report.intervals and job.back_s and not job.last:
            return True  # nothing was measured: there is nothing to say, and the next one is due later
        said = await self._say(model.OadrUpdateReport(new_id(), (report,), book.registration.ven_id))
        if not isinstance(said, model.OadrUpdatedReport):
            raise VtnError(0, "oadrUpdateReport was not answered by oadrUpdatedReport")
        if said.response.response_code == 452:
            book.refused("oadr.report.request", f"the VTN does not know report {job.id!r} any more; it ends")
            await book.drop(job)
            return False
        if said.cancel_report is not None:
            async with self._lock:
                reply = await self._services.take(said.cancel_report)
            await self._say(reply)
        return True

    async def _samples(
        self, due: reports.Due, points: Sequence[reports.Point]
    ) -> dict[tuple[str, Quantity], Sequence[Telemetry]]:
        history, clock = self.book.ports.history, self.book.ports.clock
        if history is None:
            return {}
        step = timedelta(seconds=due.job.granularity_s)
        back = _LOOKBACK if due.job.name == "TELEMETRY_STATUS" else step + timedelta(minutes=1)
        first, last = clock.from_wall(due.begin - back), clock.from_wall(due.end) + timedelta(microseconds=1)
        wanted = {(point.resource, quantity): None for point in points for quantity in point.quantities}
        return {key: await history(*key, first, last) for key in wanted}

    async def register(self) -> None:
        """oadrRegisterReport, and oadrCreatedReport for what is asked in reply."""
        book = self.book
        resources = book.site.resources
        offer = reports.metadata(self.book.config, resources, book.now)
        said = await self._say(model.OadrRegisterReport(new_id(), offer, book.registration.ven_id))
        if not isinstance(said, model.OadrRegisteredReport):
            raise VtnError(0, "oadrRegisterReport was not answered by oadrRegisteredReport")
        async with self._lock:
            problem = await self._services.requested(said.report_requests)
            await book.put(replace(book.registration, offered=reports.offered(self.book.config, resources)))
        if said.report_requests:
            response = answer(said.response.request_id, problem)
            await self._say(model.OadrCreatedReport(response, tuple(book.jobs), book.registration.ven_id))
