"""Conditions and amounts over item attributes, such as ``price < 50 and category == 'shoes' and in_stock``.

Python's own parser reads the text, and only what stands in `_READERS` is understood: no call but three of our own, no attribute access, no
code that runs. Values are computed column by column with Arrow.

A comparison with a missing value is false, ``!=`` and ``not in`` too; ``not`` turns whatever stands behind it round. An empty text is a
missing one, and so is a float that is no number. ``price is None`` asks for what is missing.
"""

from __future__ import annotations

import ast
import datetime as dt
import io
import keyword
import re
import tokenize
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError, unknown_name
from bertrec.data.attributes import numbers_in
from bertrec.data.catalog import ItemCatalog
from bertrec.data.frames import is_text
from bertrec.data.ids import flat_array

Kind = Literal["number", "truth", "text", "time", "list", "nothing"]
EXAMPLE = "price < 50 and category == 'shoes' and in_stock"
_LONGEST, _SHOWN = 10_000, 120
_COLUMN = re.compile(r"col\('(.*)'\)")
_WORDS = frozenset({"and", "or", "not", "in", "is", "None", "True", "False"})
_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal", ast.Eq: "equal", ast.NotEq: "not_equal",
}  # fmt: skip
_SIGNS: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_CALLED = {
    "number": "a number",
    "truth": "true or false",
    "text": "text",
    "time": "a time",
    "list": "a list",
    "nothing": "missing in every item",
}


@dataclass(frozen=True)
class _Term:
    """A part of an expression: ``values`` are a column, or a scalar for what was written out; ``source`` is how it is written."""

    kind: Kind
    values: Any
    source: str
    written: bool = False

    @property
    def shown(self) -> str:
        """How messages call it."""
        found = _COLUMN.fullmatch(self.source)
        return self.source if self.written else f"'{found[1] if found else self.source:.60}'"


class ItemColumns:
    """What an expression can name: the attributes of items and their text fields, by inner id.

    Row 0 has only missing values: it stands for an item of which nothing is known.
    """

    def __init__(self, catalog: ItemCatalog) -> None:
        self._catalog = catalog
        self._made: dict[str, pa.Array] = {}
        self.names: list[str] = list(dict.fromkeys([*catalog.attribute_names, *catalog.fields]))

    def __len__(self) -> int:
        return len(self._catalog) + 1

    def column(self, name: str, what: str) -> pa.Array:
        """Return a column, ``[n_items + 1]``, missing values as nulls; a text field that is an attribute too has the attribute's type.

        Args:
            name: of the attribute or text field.
            what: is named in messages.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self.names:
            if not self.names:
                raise DataError(f"{what}: unknown attribute '{name:.100}': the items have ids alone, no attribute and no text")
            raise DataError(f"{what}: {unknown_name('attribute', name, self.names)}")
        if name not in self._made:
            attributes = self._catalog.attributes
            if attributes is not None and name in attributes.column_names:
                column = flat_array(attributes[name])
            else:
                column = pa.array(self._catalog.fields[name], pa.large_string())
            self._made[name] = pa.concat_arrays([pa.nulls(1, column.type), column]) if len(column) else pa.nulls(1, column.type)
        return self._made[name]

    @cached_property
    def _terms(self) -> dict[str, _Term]:
        return {}

    def term(self, name: str, what: str) -> _Term:
        """Return a column in one of the forms that are compared."""
        if name not in self._terms:
            kind, values = _plain(self.column(name, what))
            self._terms[name] = _Term(kind, values, name if name.isidentifier() else f"col({name!r})")
        return self._terms[name]


def type_in_words(kind: pa.DataType) -> str:
    """Return what messages call the values of a type, such as ``a number``."""
    return _CALLED[_plain(pa.nulls(0, kind))[0]]


def keeps(columns: ItemColumns, text: str, what: str = "filter") -> npt.NDArray[np.bool_]:
    """Return for each inner id whether the condition holds, ``[n_items + 1]``; row 0: for an item without any attribute.

    Args:
        columns: of the items.
        text: the condition.
        what: is named in messages.

    Raises:
        DataError: it cannot be read, an attribute is unknown (with near names), or values of different kinds are compared.
    """
    reading = _Reading(columns, f"{what} {text!r:.{_SHOWN}}")
    found = reading.truth(reading.parsed(text))
    return np.asarray(_column(found, len(columns)).to_numpy(zero_copy_only=False), dtype=bool)


def amounts(columns: ItemColumns, text: str, what: str = "boost") -> npt.NDArray[np.float64]:
    """Return a number for each inner id, ``[n_items + 1]``: the value of the expression, 1 or 0 for a condition, 0 where it is missing.

    Raises:
        DataError: as `keeps`, or the expression is neither a number nor a condition.
    """
    reading = _Reading(columns, f"{what} {text!r:.{_SHOWN}}")
    found = reading.term(reading.parsed(text))
    if found.kind == "text" and not found.written:
        raise reading.fault(f"{found.shown} is text: use a number, number({found.source}), or a condition such as {EXAMPLE}")
    if found.kind not in ("number", "truth", "nothing"):
        raise reading.fault(f"{found.shown} is {_CALLED[found.kind]}: use a number, or a condition such as {EXAMPLE}")
    values = _column(found.values, len(columns))
    return np.asarray(pc.fill_null(values.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False), dtype=np.float64)


def _column(values: Any, count: int) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.repeat(values, count)


def _plain(column: pa.Array) -> tuple[Kind, pa.Array]:
    """Return a column as numbers, truth values, large strings, UTC microseconds or lists; whatever says nothing is null."""
    kind = column.type
    if pa.types.is_null(kind):
        return "nothing", column
    if pa.types.is_boolean(kind):
        return "truth", column
    if is_text(kind):
        text = flat_array(column).cast(pa.large_string())
        return "text", pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)
    if pa.types.is_temporal(kind):
        return "time", _utc(column)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list", column
    if pa.types.is_signed_integer(kind):
        return "number", column.cast(pa.int64())
    numbers = column.cast(pa.float64(), safe=False)
    return "number", pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, numbers.type))


def _utc(column: pa.Array) -> pa.Array:
    zoned = pa.types.is_timestamp(column.type) and column.type.tz is not None
    return column.cast(pa.timestamp("us", column.type.tz if zoned else None), safe=False).cast(pa.timestamp("us", "UTC"))


class _Reading:
    """One expression that is read over the columns of items."""

    def __init__(self, columns: ItemColumns, what: str) -> None:
        self.columns, self.what = columns, what

    def fault(self, text: str) -> DataError:
        return DataError(f"{self.what}: {text}")

    def parsed(self, text: str) -> ast.expr:
        """Parse the text, with columns that are called as a word of Python, such as ``class``, taken for what they are."""
        if len(text) > _LONGEST:
            raise self.fault(f"{len(text)} letters are too many: at most {_LONGEST}")
        try:
            with warnings.catch_warnings():  # Python would print that 1and 2 looks odd
                warnings.simplefilter("ignore", SyntaxWarning)
                return ast.parse(self._with_keywords(text).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            said = getattr(error, "msg", None) or str(error)
            mend = f"write it like {EXAMPLE}; a name with a space as col('unit price')"
            raise self.fault(f"cannot be read ({said}): {mend}") from error

    def _with_keywords(self, text: str) -> str:
        named = {name for name in self.columns.names if keyword.iskeyword(name) and name not in _WORDS}
        if not any(name in text for name in named):
            return text
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        except (tokenize.TokenError, SyntaxError):
            return text
        return " ".join(f"col({token.string!r})" if token.string in named else token.string for token in tokens)

    def term(self, node: ast.expr) -> _Term:
        """Return what a node says."""
        reader = _READERS.get(type(node))
        try:
            if reader is None:
                raise self.fault(f"'{ast.unparse(node):.60}' is not understood: write it like {EXAMPLE}")
            return reader(self, node)
        except RecursionError as error:
            raise self.fault("it is nested too deeply") from error
        except UnicodeEncodeError as error:
            raise self.fault("it holds half of a surrogate pair, which is no letter") from error
        except ValueError as error:
            if "int_max_str_digits" not in str(error):
                raise
            raise self.fault("a whole number in it has too many digits") from error

    def truth(self, node: ast.expr) -> Any:
        """Return whether a node holds, without nulls."""
        found = self.term(node)
        if found.kind == "truth":
            return pc.fill_null(found.values, False)
        if found.kind == "number":
            return pc.fill_null(pc.not_equal(found.values, 0), False)
        if found.kind == "nothing":
            return pa.scalar(False)
        mend = {"list": f"'x' in {found.source}", "time": f"{found.source} >= '2024-01-31'"}.get(found.kind, f"{found.source} == 'x'")
        raise self.fault(f"{found.shown} is {_CALLED[found.kind]}, not true or false: compare it, such as {mend}")

    def constant(self, node: ast.Constant) -> _Term:
        """Return a value that was written out."""
        value = node.value
        if value is None:
            return _Term("nothing", pa.scalar(None), "None", written=True)
        if isinstance(value, bool):
            return _Term("truth", pa.scalar(value), str(value), written=True)
        if isinstance(value, str):
            return _Term("text", pa.scalar(value, pa.large_string()), repr(value), written=True)
        if isinstance(value, int) and -(2**63) <= value < 2**63:
            return _Term("number", pa.scalar(value, pa.int64()), repr(value), written=True)
        if isinstance(value, int | float) and np.isfinite(number := float(min(max(value, -1e308), 1e308))):
            return _Term("number", pa.scalar(number, pa.float64()), repr(value), written=True)
        raise self.fault(f"{value!r:.60} is no number, no text and neither True nor False")

    def name(self, node: ast.Name) -> _Term:
        """Return a column; ``true``, ``false`` and ``null`` are what they mean elsewhere where no column is called so."""
        other = {"true": True, "false": False, "null": None}
        if node.id in other and node.id not in self.columns.names:
            return self.constant(ast.Constant(other[node.id]))
        return self.columns.term(node.id, self.what)

    def call(self, node: ast.Call) -> _Term:
        """Return ``col('any name')``, ``number(text)`` or ``lower(text)``."""
        name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        if name not in ("col", "number", "lower"):
            raise self.fault(unknown_name("function", f"{name:.60}", ["col", "number", "lower"]))
        if len(node.args) != 1 or node.keywords:
            example = "'unit price'" if name == "col" else "brand"
            raise self.fault(f"{name} takes one argument, such as {name}({example})")
        if name == "col":
            given = node.args[0]
            if not isinstance(given, ast.Constant) or not isinstance(given.value, str):
                raise self.fault("col takes the name of an attribute in quotation marks, such as col('unit price')")
            return self.columns.term(given.value, self.what)
        found = self.term(node.args[0])
        if found.kind == "nothing" or (name == "number" and found.kind == "number"):
            return found
        if found.kind != "text" or found.written:
            raise self.fault(f"{name}({ast.unparse(node.args[0]):.60}): {found.shown} is {_CALLED[found.kind]}: {name} reads text")
        read = numbers_in(found.values) if name == "number" else pc.utf8_lower(found.values)
        return _Term("number" if name == "number" else "text", read, found.shown)

    def both(self, node: ast.BoolOp) -> _Term:
        """Return ``a and b and …`` or ``a or b or …``."""
        join = pc.and_ if isinstance(node.op, ast.And) else pc.or_
        found = self.truth(node.values[0])
        for part in node.values[1:]:
            found = join(found, self.truth(part))
        return _Term("truth", found, ast.unparse(node))

    def one(self, node: ast.UnaryOp) -> _Term:
        """Return ``not a``, ``-a`` or ``+a``."""
        shown = ast.unparse(node)
        if isinstance(node.op, ast.Not):
            return _Term("truth", pc.invert(self.truth(node.operand)), shown)
        found = self._number(node.operand)
        if isinstance(node.op, ast.Invert):
            raise self.fault(f"'{shown:.60}' is not understood: write not …")
        values = found.values if isinstance(node.op, ast.UAdd) else pc.multiply(found.values.cast(pa.float64()), -1.0)
        return _Term("number", values, shown, found.written)

    def sum(self, node: ast.BinOp) -> _Term:
        """Return ``a + b``, ``a - b``, ``a * b`` or ``a / b``; what has no finite value is missing."""
        if type(node.op) not in _SIGNS:
            raise self.fault(f"'{ast.unparse(node):.60}' is not understood: there are + - * / and, for conditions, and, or, not")
        left, right = (self._number(part).values.cast(pa.float64()) for part in (node.left, node.right))
        values = getattr(pc, _SIGNS[type(node.op)])(left, right)
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
        return _Term("number", values, ast.unparse(node))

    def _number(self, node: ast.expr) -> _Term:
        found = self.term(node)
        if found.kind in ("number", "truth"):
            return found
        if found.kind == "nothing":
            return _Term("number", pa.scalar(None, pa.float64()), found.shown)
        raise self.fault(f"{found.shown} is {_CALLED[found.kind]}, where a number is wanted{self._as_number(found)}")

    def comparison(self, node: ast.Compare) -> _Term:
        """Return ``a < b <= c``, ``a in b``, ``a is None`` and the like."""
        found: Any = None
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            part = self._pair(left, operator, right)
            found, left = part if found is None else pc.and_(found, part), right
        return _Term("truth", found, ast.unparse(node))

    def _pair(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(operator, ast.Is | ast.IsNot):
            other = self.term(right)
            if other.kind != "nothing" or not other.written:
                raise self.fault("'is' asks whether a value is missing, such as price is None: write == to compare")
            missing = pc.is_null(self.term(left).values)
            return missing if isinstance(operator, ast.Is) else pc.invert(missing)
        if isinstance(operator, ast.In | ast.NotIn):
            return self._within(left, right, wanted=isinstance(operator, ast.In))
        one, other = self._alike(self.term(left), self.term(right))
        if one is None or other is None:
            return pa.scalar(False)
        return pc.fill_null(getattr(pc, _COMPARED[type(operator)])(one, other), False)

    def _within(self, left: ast.expr, right: ast.expr, *, wanted: bool) -> Any:
        """Return ``a in (…)``, ``'label' in labels`` or ``'part' in text``; none holds of what is missing."""
        one = self.term(left)
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            found = pa.scalar(False)
            for part in right.elts:
                values = self._alike(one, self.term(part))
                found = found if values[0] is None else pc.or_(found, pc.fill_null(pc.equal(*values), False))
            known = pc.is_valid(one.values)
        else:
            other = self.term(right)
            if other.kind == "nothing":
                return pa.scalar(False)
            found, known = self._inside(one, other), pc.is_valid(other.values)
        return found if wanted else pc.and_(pc.invert(found), known)

    def _inside(self, one: _Term, other: _Term) -> Any:
        if not one.written or other.written:
            raise self.fault(
                f"'{one.source} in {other.source}': write a value in an attribute, or an attribute in a list such as ('a', 'b')"
            )
        if other.kind == "text" and one.kind == "text":
            return pc.fill_null(pc.match_substring(other.values, one.values.as_py()), False)
        if other.kind != "list":
            raise self._clash(one, other)
        kind, labels = _plain(other.values.flatten())
        values = self._alike(_Term(kind, labels, other.source), one)
        hit = np.zeros(len(other.values), bool)
        if values[0] is not None:
            rows = pc.list_parent_indices(other.values).to_numpy()
            hit[rows[pc.fill_null(pc.equal(*values), False).to_numpy(zero_copy_only=False)]] = True
        return pa.array(hit)

    def _alike(self, one: _Term, other: _Term) -> tuple[Any, Any]:
        """Return the values of two terms in a form in which they can be compared; None for one that is always missing."""
        if "nothing" in (one.kind, other.kind):
            if one.written or other.written:
                self._no_none(one, other)
            return None, None
        if {one.kind, other.kind} == {"number", "truth"}:
            return one.values.cast(pa.float64()), other.values.cast(pa.float64())
        if {one.kind, other.kind} == {"time", "text"}:
            return self._time(one, other), self._time(other, one)
        if one.kind != other.kind or one.kind == "list":
            raise self._clash(one, other)
        return one.values, other.values

    def _no_none(self, one: _Term, other: _Term) -> None:
        none, tested = (one, other) if one.kind == "nothing" and one.written else (other, one)
        if none.kind == "nothing" and none.written:
            raise self.fault(f"nothing equals None: write {tested.source} is None, or is not None")

    def _time(self, term: _Term, other: _Term) -> Any:
        if term.kind == "time":
            return term.values
        if not term.written:
            raise self._clash(term, other)
        text = term.values.as_py()
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError as error:
            raise self.fault(f"{other.shown} is a time, and {term.shown} is none: write '2024-01-31' or '2024-01-31 09:30'") from error
        return pa.scalar(moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC), pa.timestamp("us", "UTC"))

    def _clash(self, one: _Term, other: _Term) -> DataError:
        named, value = (other, one) if one.written else (one, other)
        said = f"{named.shown} is {_CALLED[named.kind]}{_such_as(named)}, {value.shown} is {_CALLED[value.kind]}"
        return self.fault(f"{said}: {self._mend(named, value)}")

    def _mend(self, named: _Term, value: _Term) -> str:
        name = named.source
        if named.kind == "list":
            label = value.source if value.written else "'x'"
            return f"write {label} in {name}"
        if named.kind == "text" and value.kind == "number":
            whole = f"{name} == '{value.shown}'" if value.written else f"number({name})"
            return f"compare texts, {whole}, or numbers, number({name}) < 50" if value.written else f"write {whole}"
        if named.kind == "number":
            return f"compare it with a number, such as {name} < 50"
        wanted = {"truth": f"{name} or not {name}", "time": f"{name} >= '2024-01-31'", "text": f"{name} == 'x'"}
        return f"write {wanted.get(named.kind, name)}"

    def _as_number(self, found: _Term) -> str:
        readable = found.kind == "text" and not found.written
        return f": write number({found.source}), which reads texts such as '12.50'" if readable else ""


def _such_as(term: _Term) -> str:
    if term.written or not isinstance(term.values, pa.Array):
        return ""
    there = term.values.drop_null()
    return f" (such as {there[0].as_py()!r:.60})" if len(there) and term.kind in ("text", "number", "list") else ""


_READERS: dict[type[ast.expr], Callable[[_Reading, Any], _Term]] = {
    ast.Constant: _Reading.constant,
    ast.Name: _Reading.name,
    ast.Call: _Reading.call,
    ast.BoolOp: _Reading.both,
    ast.UnaryOp: _Reading.one,
    ast.BinOp: _Reading.sum,
    ast.Compare: _Reading.comparison,
}


def labels_of(columns: ItemColumns, name: str, what: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return numbers from 0 for the values of an attribute and the offset of each inner id's, ``[total]`` and ``[n_items + 2]``.

    An item has as many as a list of its holds, each once; one whose value is missing has none.

    Raises:
        DataError: there is no such attribute.
    """
    column = columns.column(name, what)
    kind, values = _plain(column)
    rows = np.arange(len(column))
    if kind == "list":
        rows = pc.list_parent_indices(values).to_numpy()
        values = _plain(values.flatten())[1]
    there = pc.is_valid(values).to_numpy(zero_copy_only=False)
    codes = np.asarray(values.drop_null().dictionary_encode().indices.to_numpy(), np.int64) if there.any() else np.zeros(0, np.int64)
    width = int(codes.max(initial=0)) + 1
    owners, codes = np.divmod(np.unique(rows[there] * width + codes), width)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=len(column)))]).astype(np.int64)
    return codes, offsets
