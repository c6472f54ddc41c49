"""The filter of known identities: never forgets, seldom errs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from interop.store import Batch, InboxEntry, Store, Taken
from interop.store.known import Known

IDENTITIES = st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=40))


@given(st.sets(IDENTITIES, max_size=200))
def test_what_was_added_is_known(identities: set[tuple[str, str, str]]) -> None:
    known = Known(100)
    for identity in identities:
        known.add(identity)
    assert all(identity in known for identity in identities)


def test_it_errs_seldom_when_as_many_as_expected_are_in_it() -> None:
    count = 300_000
    known = Known(count)
    for n in range(count):
        known.add(("uftp", "dso", f"in-{n}"))
    wrong = sum(("uftp", "dso", f"out-{n}") in known for n in range(20_000))
    assert wrong < 100


async def test_after_a_restart_the_store_still_knows_what_it_took(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.commit(Batch(taken=tuple(_taken(n) for n in range(1, 50))))
    await store.close()
    again = await Store.open(tmp_path)
    assert [again.seen("uftp", "dso", f"m{n}")[0].seq for n in range(1, 50)] == list(range(1, 50))
    assert again.seen("uftp", "dso", "m50") == []
    await again.commit(Batch(taken=(_taken(50),)))
    assert again.seen("uftp", "dso", "m50")[0].seq == 50
    await again.close()


def _taken(n: int) -> Taken:
    at = datetime(2026, 5, 20, tzinfo=UTC)
    return Taken(n, InboxEntry("uftp", "dso", "FlexRequest", b"x", at, f"m{n}", "c1", digest=bytes([n])))
