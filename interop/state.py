"""An adapter's own durable documents (`adapters.ports.State`), in the store's space `adapter:<name>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.ports import Change
from datamodels import encode
from interop.store import Batch, Document, StorePort

__all__ = ["AdapterState"]


class AdapterState:
    """Keeps a copy in memory, so that `load` needs no I/O; use `await AdapterState.open(store, name)`."""

    def __init__(self, store: StorePort, adapter: str) -> None:
        self._store = store
        self.space = f"adapter:{adapter}"
        self._kinds: dict[str, dict[str, Mapping[str, Any]]] = {}

    @classmethod
    async def open(cls, store: StorePort, adapter: str) -> AdapterState:
        state = cls(store, adapter)
        for document in await store.documents(state.space):
            state._kinds.setdefault(document.kind, {})[document.key] = document.value
        return state

    def load(self, kind: str) -> dict[str, dict[str, Any]]:
        return {key: dict(value) for key, value in self._kinds.get(kind, {}).items()}

    async def commit(self, *changes: Change) -> None:
        await self._store.commit(Batch(documents=self.documents(changes)))
        self.absorb(changes)

    def documents(self, changes: Sequence[Change]) -> tuple[Document, ...]:
        """Changes as documents, for whoever commits them together with something else and then calls `absorb`."""
        return tuple(Document(self.space, c.kind, c.key, c.value and encode(dict(c.value))) for c in changes)

    def absorb(self, changes: Sequence[Change]) -> None:
        for change in changes:
            kind = self._kinds.setdefault(change.kind, {})
            if change.value is None:
                kind.pop(change.key, None)
            else:
                kind[change.key] = change.value
