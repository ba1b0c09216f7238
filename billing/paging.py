"""Pages of lists: how many rows, from where, in which order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select, SQLColumnExpression

from herotill.errors import InvalidValue

SortKeys = Mapping[str, SQLColumnExpression[Any]]
_Query = TypeVar("_Query", bound=Select[*tuple[Any, ...]])


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted. `sort` names one of the list's keys, with `-` before it from the other end."""

    limit: int = 100
    offset: int = 0
    sort: str = ""


FIRST_PAGE = Page()


def paged(query: _Query, page: Page, keys: SortKeys, *usual: SQLColumnExpression[Any]) -> _Query:
    """Order a query by the key the page names, then as usual, and cut the page out. Raises InvalidValue.

    What has no value comes last from either end.
    """
    order = list(usual)
    if page.sort:
        key = keys.get(page.sort.removeprefix("-"))
        if key is None:
            raise InvalidValue(
                "sort", page.sort, f"it is one of {', '.join(keys)}, or one of them behind a -"
            )
        order.insert(0, (key.desc() if page.sort.startswith("-") else key.asc()).nulls_last())
    return query.order_by(*order).limit(page.limit).offset(page.offset)
