from datetime import UTC, datetime, timedelta

import pytest

from datamodels import Dispatch, DispatchInterval, DispatchKind, DispatchStatus

NEW, ACCEPTED, REJECTED, REVOKED, STARTED, SUCCEEDED, ABORTED = DispatchStatus

ALLOWED = {
    NEW: {ACCEPTED, REJECTED, REVOKED, STARTED, SUCCEEDED, ABORTED},
    ACCEPTED: {REJECTED, REVOKED, STARTED, SUCCEEDED, ABORTED},
    STARTED: {REJECTED, REVOKED, SUCCEEDED, ABORTED},
}


@pytest.mark.parametrize("status", DispatchStatus)
def test_life_cycle(status: DispatchStatus) -> None:
    following = {other for other in DispatchStatus if status.may_become(other)}
    assert following == ALLOWED.get(status, set())
    assert status.is_final is (status not in ALLOWED)


def test_the_interval_that_holds() -> None:
    begin, quarter = datetime(2026, 5, 20, 12, tzinfo=UTC), timedelta(minutes=15)
    first, gap_after = DispatchInterval(begin, quarter, 1), DispatchInterval(begin + 2 * quarter, quarter, 2)
    dispatch = Dispatch("d", "r", DispatchKind.SETPOINT, (first, gap_after), "order")
    assert (dispatch.start, dispatch.end) == (begin, begin + 3 * quarter)
    assert dispatch.at(begin) is first
    assert dispatch.at(begin + quarter) is None
    assert dispatch.at(begin + 2 * quarter) is gap_after
    assert dispatch.at(dispatch.end) is None
