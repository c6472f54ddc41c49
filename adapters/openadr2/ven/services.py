"""What a VEN does with each payload of its VTN, polled or pushed: one table of handlers over the book.

A handler changes the book and returns the reply. All that follows further (an oadrCreatedEvent, a new registration, a
report) is in the book by then, and is sent by the link.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from adapters.openadr2 import model
from adapters.openadr2.model import EiResponse, Payload
from adapters.openadr2.session import answer
from adapters.openadr2.ven import events, reports
from adapters.openadr2.ven.book import Book
from adapters.openadr2.ven.records import Job
from datamodels import Problem

__all__ = ["ENDPOINT", "Services"]

ENDPOINT: Mapping[type, str] = {
    model.OadrRequestReregistration: "EiRegisterParty",
    model.OadrCancelPartyRegistration: "EiRegisterParty",
    model.OadrDistributeEvent: "EiEvent",
    model.OadrRegisterReport: "EiReport",
    model.OadrCreateReport: "EiReport",
    model.OadrUpdateReport: "EiReport",
    model.OadrCancelReport: "EiReport",
}
"""What a VTN may send of its own accord, and at which end point it pushes it."""


class Services:
    """`unsaid` are oadrCreatedEvents that no record holds; `deviates` is told what the lenient profile forgives."""

    def __init__(self, book: Book, deviates: Callable[[str, str], None]) -> None:
        self.book = book
        self.unsaid: list[model.OadrCreatedEvent] = []
        self._deviates = deviates
        self._handlers: dict[type, Callable[[Any], Awaitable[Payload]]] = {
            model.OadrRequestReregistration: self._reregister,
            model.OadrCancelPartyRegistration: self._cancel,
            model.OadrDistributeEvent: self._distribute,
            model.OadrRegisterReport: self._register_report,
            model.OadrCreateReport: self._create_report,
            model.OadrUpdateReport: self._update_report,
            model.OadrCancelReport: self._cancel_report,
        }

    async def take(self, payload: Payload, *, limit: int = 0) -> Payload:
        """Handle a payload; the reply to it. `limit` is the replyLimit that it answers."""
        if isinstance(payload, model.OadrDistributeEvent):
            return await self._distribute(payload, limit)
        handler = self._handlers.get(type(payload))
        ours, named = self.book.registration.ven_id, getattr(payload, "ven_id", None)
        if handler is None:
            return self._refuse(payload, Problem("oadr.role", _name(payload), "a VTN does not send this", reason="451"))
        if payload.schema_version not in (None, "2.0b"):
            text = "schemaVersion must be 2.0b"
            return self._refuse(payload, Problem("oadr.version", _name(payload), text, reason="459"))
        if named is not None and named != ours:
            text = "the venID is not ours (rule 21)"
            return self._refuse(payload, Problem("oadr.ven", "venID", text, reason="452"))
        return await handler(payload)

    def _refuse(self, payload: Payload, problem: Problem) -> Payload:
        self.book.refused(problem.rule, f"{_name(payload)}: {problem.where}: {problem.message}")
        response = answer(getattr(payload, "request_id", ""), problem)
        refusal = _REFUSALS.get(type(payload), _plain)
        return refusal(response, self.book.registration.ven_id)

    def _ok(self, payload: Any) -> EiResponse:
        return answer(payload.request_id)

    # --- registration ---

    async def _reregister(self, message: model.OadrRequestReregistration) -> Payload:
        await self.book.put(replace(self.book.registration, renew=True))
        return model.OadrResponse(answer(""), self.book.registration.ven_id)

    async def _cancel(self, message: model.OadrCancelPartyRegistration) -> Payload:
        known = self.book.registration
        if message.registration_id != known.registration_id:
            text = "it is not that of our registration"
            return self._refuse(message, Problem("oadr.registration.id", "registrationID", text, reason="452"))
        await self.book.end()
        return model.OadrCanceledPartyRegistration(self._ok(message), known.registration_id, known.ven_id)

    # --- events ---

    async def _distribute(self, message: model.OadrDistributeEvent, limit: int = 0) -> Payload:
        book = self.book
        known = book.registration
        judged = events.judge(message, book.events, book.site, known.vtn_id, book.follows, book.now, limit)
        for deviation in judged.deviations:
            self._deviates("oadrDistributeEvent", deviation)
        if judged.problem is not None:
            book.refused(judged.problem.rule, f"oadrDistributeEvent: {judged.problem.message}")
            self.unsaid.append(model.OadrCreatedEvent(answer(message.request_id, judged.problem), known.ven_id))
        for step in judged.steps:
            await book.take(step)
        if judged.extra:
            self.unsaid += events.answers((), known.ven_id, judged.extra)
        return model.OadrResponse(answer(message.request_id, judged.problem), known.ven_id)

    # --- reports ---

    async def _register_report(self, message: model.OadrRegisterReport) -> Payload:
        return model.OadrRegisteredReport(self._ok(message), (), self.book.registration.ven_id)

    async def _create_report(self, message: model.OadrCreateReport) -> Payload:
        problem = await self.requested(message.report_requests)
        response = answer(message.request_id, problem)
        return model.OadrCreatedReport(response, tuple(self.book.jobs), self.book.registration.ven_id)

    async def requested(self, requests: tuple[model.ReportRequest, ...]) -> Problem | None:
        """Take up what is asked for; of what cannot be, the first problem."""
        book = self.book
        found = [reports.job_of(request, book.config, book.site.resources, book.now) for request in requests]
        jobs = [job for job in found if isinstance(job, Job)]
        problems = [problem for problem in found if isinstance(problem, Problem)]
        for problem in problems:
            book.refused(problem.rule, f"{problem.where}: {problem.message}")
        await book.put(*(job for job in jobs if job.id not in book.jobs))
        return problems[0] if problems else None

    async def _update_report(self, message: model.OadrUpdateReport) -> Payload:
        problem = Problem("oadr.report.request", "reportRequestID", "nothing was asked under this id", reason="452")
        return self._refuse(message, problem) if message.reports else _updated(self._ok(message), message.ven_id or "")

    async def _cancel_report(self, message: model.OadrCancelReport) -> Payload:
        problem = await self.canceled(message)
        response = answer(message.request_id, problem)
        left = tuple(job.id for job in self.book.jobs.values() if not job.last)
        return model.OadrCanceledReport(response, left, self.book.registration.ven_id)

    async def canceled(self, message: model.OadrCancelReport) -> Problem | None:
        """End reports; with reportToFollow each is sent once more first. Of an unknown id, the problem."""
        book = self.book
        ids = dict.fromkeys(message.report_request_ids)
        known = [book.jobs[id] for id in ids if id in book.jobs]
        if message.report_to_follow:
            await book.put(*(replace(job, last=True) for job in known))
        else:
            await book.drop(*known)
        if len(known) == len(ids):
            return None
        return Problem("oadr.report.request", "reportRequestID", "no such report", reason="452")


# --- refusals -----------------------------------------------------------------------------------------------------


def _plain(response: EiResponse, ven_id: str) -> Payload:
    return model.OadrResponse(response, ven_id)


def _updated(response: EiResponse, ven_id: str) -> Payload:
    return model.OadrUpdatedReport(response, ven_id=ven_id)


_REFUSALS: Mapping[type, Callable[[EiResponse, str], Payload]] = {
    model.OadrCancelPartyRegistration: lambda response, ven_id: model.OadrCanceledPartyRegistration(
        response, ven_id=ven_id
    ),
    model.OadrRegisterReport: lambda response, ven_id: model.OadrRegisteredReport(response, (), ven_id),
    model.OadrCreateReport: lambda response, ven_id: model.OadrCreatedReport(response, (), ven_id),
    model.OadrUpdateReport: _updated,
    model.OadrCancelReport: lambda response, ven_id: model.OadrCanceledReport(response, (), ven_id),
}


def _name(payload: Payload) -> str:
    return f"o{type(payload).__name__[1:]}"
