"""The objects of the programme model: in memory for reading, every edit durable before it is seen.

Edits are made one after the other, so that names stay unique and nobody overwrites what he has not seen. The last ones
are kept as a journal, from which whoever delivers them (webhooks, queues of VENs) goes on after a restart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar

from adapters.errors import Rejection
from adapters.ports import Change, Edit
from datamodels import (
    Availability,
    Entry,
    EventOpt,
    Problem,
    Programme,
    ProgrammeEvent,
    ProgrammeReport,
    ResourceGroup,
    Ven,
    VenResource,
    decode,
    encode,
)
from interop.feed import Feed
from interop.programmes import rules
from interop.state import AdapterState
from interop.store import Batch, Document, Event, StorePort

__all__ = ["KINDS", "Registry"]

SPACE, JOURNAL = "programmes", "journal"
KINDS: tuple[type[Entry], ...] = (
    Programme,
    ProgrammeEvent,
    Ven,
    VenResource,
    ResourceGroup,
    ProgrammeReport,
    EventOpt,
    Availability,
)
_KEPT = 10_000
"""Edits in the journal."""
_TICK = timedelta(microseconds=1)
E = TypeVar("E", bound=Entry)


class Registry:
    """Keeps `adapters.ports.Programmes`; adapters get `for_adapter`, which can write their own documents along.

    `kept`: how many edits the journal holds.
    """

    def __init__(self, store: StorePort, feed: Feed, now: Callable[[], datetime], kept: int = _KEPT) -> None:
        self._store = store
        self._feed = feed
        self._now = now
        self._kept = kept
        self._held = _Held()
        self._journal: deque[Edit] = deque()
        self._watchers: list[Callable[[Sequence[Edit]], None]] = []
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Take up what is durable."""
        for kind in KINDS:
            documents = await self._store.documents(SPACE, kind.__name__)
            entries: list[Entry] = [decode(document.value, kind) for document in documents]
            for entry in sorted(entries, key=lambda e: (e.created, e.id)):
                self._held.put(entry)
        for document in sorted(await self._store.documents(SPACE, JOURNAL), key=lambda d: d.key):
            self._journal.append(_edit(int(document.key), document.value))

    def for_adapter(self, state: AdapterState) -> _ForAdapter:
        return _ForAdapter(self, state)

    # --- reading ---------------------------------------------------------------------------------------------------

    def get(self, kind: type[E], id: str) -> E | None:
        found: E | None = self._held.get(kind, id)
        return found

    def all(self, kind: type[E]) -> Mapping[str, E]:
        return MappingProxyType(self._held.tables[kind])

    @property
    def last(self) -> int:
        return self._journal[-1].seq if self._journal else 0

    def since(self, seq: int) -> Sequence[Edit] | None:
        newer = self.last - seq
        if newer > len(self._journal) or newer < 0:
            return None
        return [self._journal[k] for k in range(len(self._journal) - newer, len(self._journal))]

    def watch(self, watcher: Callable[[Sequence[Edit]], None]) -> None:
        self._watchers.append(watcher)

    # --- writing ---------------------------------------------------------------------------------------------------

    async def write(self, edits: Sequence[Edit], documents: Sequence[Document] = ()) -> tuple[Edit, ...]:
        """As `Programmes.write`, with documents of anybody's."""
        # A caller whose client hangs up must not keep what became durable from being seen.
        return await asyncio.shield(asyncio.ensure_future(self._write(edits, documents)))

    async def _write(self, edits: Sequence[Edit], documents: Sequence[Document]) -> tuple[Edit, ...]:
        async with self._writing:
            now = self._now()
            made = [replace(e, seq=self.last + n) for n, e in enumerate(self._stamped(edits, now), 1)]
            dropped = len(self._journal) + len(made) - self._kept
            old = [self._journal[k].seq for k in range(min(max(dropped, 0), len(self._journal)))]
            written = [_document(e) for e in made]
            batch = Batch(
                documents=(
                    *documents,
                    *(
                        Document(SPACE, e.kind.__name__, e.entry.id, w["after"])
                        for e, w in zip(made, written, strict=True)
                    ),
                    *(Document(SPACE, JOURNAL, _key(e.seq), w) for e, w in zip(made, written, strict=True)),
                    *(Document(SPACE, JOURNAL, _key(seq), None) for seq in old),
                ),
                events=tuple(Event("programme", now, _told(e)) for e in made),
            )
            await self._store.commit(batch)
            for _ in old:
                self._journal.popleft()
            for edit in made:
                self._journal.append(edit)
                self._held.do(edit)
            for watcher in self._watchers:
                watcher(made)
        for edit in made:
            self._feed.publish("programme", _told(edit) | {"at": now.isoformat()})
        return tuple(made)

    def _stamped(self, edits: Iterable[Edit], now: datetime) -> list[Edit]:
        """The edits with what follows from them, stamped (Rejection where one cannot be)."""
        look, made = _Look(self._held), list[Edit]()
        problems: list[Problem] = []
        for edit in edits:
            entry, known = edit.entry, look.get(edit.kind, edit.entry.id)
            seen = edit.before.revision if edit.before is not None else None
            if seen != (known.revision if known is not None else None):
                problems.append(_stale(entry, known))
                continue
            edit = replace(edit, before=known)
            problems += rules.in_use(entry, look) if edit.after is None else rules.broken(edit.after, look)
            following = rules.consequences(entry, look) if edit.after is None else ()
            # Those that refer to it go first: whoever reads along never sees them without it.
            for each in (*(Edit(before, after, edit.author) for before, after in list(following)), edit):
                made.append(_stamp(each, now))
                look.do(made[-1])
        if problems:
            raise Rejection(problems)
        return made


class _ForAdapter:
    """The registry as an adapter sees it."""

    def __init__(self, registry: Registry, state: AdapterState) -> None:
        self._state = state
        self._registry = registry
        self.get, self.all = registry.get, registry.all
        self.since, self.watch = registry.since, registry.watch

    @property
    def last(self) -> int:
        return self._registry.last

    async def write(self, edits: Sequence[Edit], changes: Sequence[Change] = ()) -> tuple[Edit, ...]:
        made = await self._registry.write(edits, self._state.documents(changes))
        self._state.absorb(changes)
        return made


# --- what is held -------------------------------------------------------------------------------------------------


class _Held:
    """All objects, by kind and id, by unique name, and by what they refer to."""

    def __init__(self) -> None:
        self.tables: dict[type, dict[str, Any]] = {kind: {} for kind in KINDS}
        self.ids: dict[tuple[type[Entry], Hashable], str] = {}
        self.users: dict[rules.Named, dict[rules.Named, None]] = {}

    def get(self, kind: type[Any], id: str) -> Any:
        return self.tables[kind].get(id)

    def do(self, edit: Edit) -> None:
        if edit.before is not None:
            self._forget(edit.before)
        if edit.after is not None:
            self.put(edit.after)
        else:
            self.tables[edit.kind].pop(edit.entry.id, None)

    def put(self, entry: Entry) -> None:
        kind = type(entry)
        self.tables[kind][entry.id] = entry
        name = rules.names(entry)
        if name is not None:
            self.ids[kind, name] = entry.id
        for other in rules.references(entry):
            self.users.setdefault(other, {})[kind, entry.id] = None

    def _forget(self, entry: Entry) -> None:
        kind = type(entry)
        self.ids.pop((kind, rules.names(entry)), None)
        for other in rules.references(entry):
            users = self.users.get(other, {})
            users.pop((kind, entry.id), None)
            if not users:
                self.users.pop(other, None)


class _Look:
    """What is held, with edits that are not yet durable laid over it."""

    def __init__(self, held: _Held) -> None:
        self._held = held
        self._over: dict[rules.Named, Entry | None] = {}

    def do(self, edit: Edit) -> None:
        self._over[edit.kind, edit.entry.id] = edit.after

    def get(self, kind: type[Any], id: str) -> Any:
        known = self._over.get((kind, id), self)
        return self._held.get(kind, id) if known is self else known

    def named(self, kind: type[Entry], name: Hashable) -> str | None:
        for (of, id), entry in self._over.items():
            if of is kind and entry is not None and rules.names(entry) == name:
                return id
        held = self._held.ids.get((kind, name))
        return held if held is not None and (kind, held) not in self._over else None

    def users(self, kind: type[Entry], id: str) -> list[Entry]:
        named = self._held.users.get((kind, id), {})
        held = [self._held.get(*each) for each in named if each not in self._over]
        over = [e for e in self._over.values() if e is not None and (kind, id) in rules.references(e)]
        return held + over


# --- stamps and documents -----------------------------------------------------------------------------------------


def _stamp(edit: Edit, now: datetime) -> Edit:
    """Revision and times. A clock that was set back never makes an object look older than it was."""
    before, after = edit.before, edit.after
    if after is None:
        return edit
    if before is None:
        return replace(edit, after=replace(after, revision=0, created=now, modified=now))
    modified = max(now, before.modified + _TICK)
    return replace(edit, after=replace(after, revision=before.revision + 1, created=before.created, modified=modified))


def _stale(entry: Entry, known: Entry | None) -> Problem:
    kind = type(entry).__name__
    text = f"{kind} {entry.id!r} " + (f"is at revision {known.revision}" if known is not None else "does not exist")
    return Problem("programme.stale", "id", text, hint="read it again, then edit")


def _key(seq: int) -> str:
    return f"{seq:016}"


def _document(edit: Edit) -> dict[str, Any]:
    return {"before": encode(edit.before), "after": encode(edit.after), "author": edit.author}


def _edit(seq: int, value: Mapping[str, Any]) -> Edit:
    return Edit(decode(value["before"]), decode(value["after"]), value["author"], seq)


def _told(edit: Edit) -> dict[str, Any]:
    what = "created" if edit.before is None else "changed" if edit.after is not None else "removed"
    about = {"what": what, "kind": edit.kind.__name__, "id": edit.entry.id, "revision": edit.entry.revision}
    return about | {"author": edit.author, "seq": edit.seq}
