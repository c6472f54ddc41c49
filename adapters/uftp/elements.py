"""Wire elements as values: what the codec reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from adapters.uftp.schema import ElementSpec

__all__ = ["MANY", "Element", "Rows"]

MANY = 4
"""From so many alike elements on, they are kept by column."""


@dataclass(slots=True)
class Element:
    """One wire element: typed attribute values (absent ones are not in the mapping) and children in order.

    Never changed once built; not frozen because a frozen one takes five times as long to build.
    """

    name: str
    attributes: Mapping[str, Any]
    children: Sequence[Element] = ()

    def __getitem__(self, attribute: str) -> Any:
        return self.attributes[attribute]

    def get(self, attribute: str) -> Any:
        """The value, or None where the attribute is absent."""
        return self.attributes.get(attribute)

    def all(self, name: str) -> Iterator[Element]:
        """The children of that name."""
        children = self.children
        if isinstance(children, Rows) and children.name != name:
            return iter(())
        return (c for c in children if c.name == name)

    def column(self, attribute: str, default: Any = None) -> Sequence[Any]:
        """The attribute of each child, in order; `default` where it is absent."""
        children = self.children
        if isinstance(children, Rows):
            return children.column(attribute, default)
        return [child.attributes.get(attribute, default) for child in children]


class Rows(Sequence[Element]):
    """Many elements of one kind that state the same attributes, kept by column: a day of ISPs as a rule.

    To who asks for one it is an element like any other.
    """

    __slots__ = ("_columns", "_count", "_names", "name")

    def __init__(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """`columns`: values by attribute, all of one length, at least one."""
        self.name = name
        self._columns = dict(columns)
        self._names = tuple(columns)
        self._count = len(self._columns[self._names[0]])

    @classmethod
    def read(cls, spec: ElementSpec, names: Sequence[str], texts: Iterable[Sequence[str]]) -> Rows:
        """Columns of texts as values, defaults added.

        Raises:
            KeyError, ValueError: a text is not valid (or of an unusual form), or there is no such attribute.
        """
        columns = {name: spec.attributes[name].type.read_all(column) for name, column in zip(names, texts, strict=True)}
        count = len(columns[names[0]])
        for name, value in spec.defaults:
            if name not in columns:
                columns[name] = [value] * count
        return cls(spec.name, columns)

    def column(self, attribute: str, default: Any = None) -> Sequence[Any]:
        found = self._columns.get(attribute)
        return [default] * self._count if found is None else found

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Element]:
        name, names = self.name, self._names
        for row in zip(*self._columns.values(), strict=True):
            yield Element(name, dict(zip(names, row, strict=True)))

    @overload
    def __getitem__(self, index: int) -> Element: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Element]: ...

    def __getitem__(self, index: int | slice) -> Element | Sequence[Element]:
        if isinstance(index, slice):
            return tuple(self)[index]
        return Element(self.name, {name: column[index] for name, column in self._columns.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as Element has none

    def __repr__(self) -> str:
        return repr(tuple(self))
