"""Splits into training, validation and test, each with a manifest of what was done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect, expect_number, expect_whole
from bertrec.core.described import Described
from bertrec.core.distinct import among
from bertrec.core.errors import DataError, unknown_name
from bertrec.core.files import sha256_parts, sha256_text
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Targets = Literal["all", "first"]
# A user needs one interaction each for training, validation and test.
_SHORTEST = 3
_NO_CLOCK = "split by leave-one-out or ratio"
_FROM = "time split: validation_from and test_from: each"


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationSet(Described):
    """One row per evaluated user: what they had seen, and what they chose next.

    Attributes:
        users: external ids, ``[n]``.
        histories: inner item ids, oldest first; these are the seen items. They have times where the data have them.
        targets: inner item ids, one or more per row.
    """

    users: list[str | int]
    histories: Ragged
    targets: Ragged

    def __post_init__(self) -> None:
        if not len(self.users) == len(self.histories) == len(self.targets):
            raise DataError(f"{len(self.users)} users, {len(self.histories)} histories and {len(self.targets)} targets do not match")

    def __len__(self) -> int:
        return len(self.users)

    def _facts(self) -> dict[str, object]:
        return {"users": len(self), "targets": len(self.targets.values), "history_items": len(self.histories.values)}

    @cached_property
    def seen_targets(self) -> int:
        """How many targets stand in their own history, as repeats do."""
        if len(self.targets.values) == len(self) and (self.targets.lengths == 1).all():
            repeated = self.histories.values == np.repeat(self.targets.values, self.histories.lengths)
            return len(np.unique(np.searchsorted(self.histories.offsets, np.flatnonzero(repeated), side="right")))
        width = int(max(self.targets.values.max(initial=0), self.histories.values.max(initial=0))) + 1
        keys = [part.rows * width + part.values for part in (self.targets, self.histories)]
        return int(np.count_nonzero(among(*keys)))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over users, histories and targets."""
        arrays = (self.histories.values, self.histories.offsets, self.targets.values, self.targets.offsets)
        return sha256_parts(map(str, self.users), arrays)

    def take(self, rows: IntArray) -> EvaluationSet:
        """Return the rows numbered ``rows``, in that order."""
        picked = np.asarray(rows, dtype=np.int64)
        return EvaluationSet([self.users[row] for row in picked], self.histories.take(picked), self.targets.take(picked))


@dataclass(frozen=True, eq=False, repr=False)
class Split(Described):
    """Training, validation and test over one catalogue and one id space.

    Attributes:
        catalog: all items, also those that training never sees.
        train: training sequences; users without any keep an empty row.
        validation, test: the evaluated users, or ``None``.
        held_out: inner ids of the items that training never sees by design (``cold_items``), else empty, ``[m]``.
        manifest: data hash, filters, method, options, seed and counts; JSON values only.
    """

    catalog: ItemCatalog
    train: Interactions
    validation: EvaluationSet | None
    test: EvaluationSet | None
    held_out: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    manifest: dict[str, Any] = field(default_factory=dict)

    def _facts(self) -> dict[str, object]:
        parts = {"validation_users": self.validation, "test_users": self.test}
        return {
            "method": self.manifest.get("method"),
            "items": len(self.catalog),
            "train_interactions": len(self.train),
            **{name: 0 if part is None else len(part) for name, part in parts.items()},
            "held_out_items": len(self.held_out) or None,
        }

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over training sequences, histories, targets and held-out items."""
        return sha256_text(
            self.train.content_hash,
            *("-" if part is None else part.content_hash for part in (self.validation, self.test)),
            self.held_out.tobytes().hex(),
        )


def leave_one_out(interactions: Interactions) -> Split:
    """Test on each user's last item and validate on the one before; users with fewer than 3 interactions only train.

    The history of a test item is everything before it, with the validation item.
    """
    _check(interactions, "leave_one_out")
    test, valid = _nth_last(interactions, 1), _nth_last(interactions, 2)
    manifest = _manifest(interactions, "leave_one_out", {})
    manifest["counts"]["users_with_tied_last_two"] = _tied(interactions, test, valid)
    return _assemble(interactions, valid, test, manifest)


def ratio_by_user(interactions: Interactions, *, validation_share: float = 0.1, test_share: float = 0.1, targets: Targets = "all") -> Split:
    """Test on the last share of each user's interactions and validate on the share before, at least one each.

    Args:
        interactions: the data; users with fewer than 3 interactions only train.
        validation_share: share of a user's interactions, rounded down.
        test_share: share of a user's interactions, rounded down.
        targets: all interactions of a part are targets, or only its first.

    Raises:
        DataError: shares outside 0 to 1, or adding up to 1 or more.
    """
    _check(interactions, "ratio_by_user")
    _check_shares(validation_share, test_share)
    from_end, long_enough = _from_end(interactions)
    lengths = interactions.sequences.lengths[interactions.sequences.rows]
    tests = np.maximum(1, np.floor(lengths * test_share))
    valids = np.minimum(np.maximum(1, np.floor(lengths * validation_share)), lengths - tests - 1)
    test = long_enough & (from_end < tests)
    valid = long_enough & ~test & (from_end < tests + valids)
    options = {"validation_share": validation_share, "test_share": test_share, "targets": targets}
    return _assemble(interactions, valid, test, _manifest(interactions, "ratio_by_user", options), targets=targets)


def time_split(
    interactions: Interactions,
    *,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    validation_from: float | None = None,
    test_from: float | None = None,
    targets: Targets = "all",
) -> Split:
    """Train on what happened before one moment, validate up to a second one and test on the rest, for all users alike.

    A history is everything of the user before the part begins; users without one are not evaluated and are counted.

    Args:
        interactions: the data, with times on a common clock.
        validation_share: share of all interactions, from which the first moment is found.
        test_share: share of all interactions, from which the second moment is found.
        validation_from: the first moment itself, in the unit of the timestamps; give both or none.
        test_from: the second moment itself.
        targets: all interactions of a user in a part are targets, or only the first.

    Raises:
        DataError: there are no timestamps, they are only positions, or a part comes out empty.
    """
    _check(interactions, "time_split")
    time = _common_clock(interactions)
    if (validation_from is None) != (test_from is None):
        raise DataError("time split: give both validation_from and test_from, or neither")
    shared = validation_from is None
    if validation_from is None or test_from is None:
        _check_shares(validation_share, test_share)
        validation_from, test_from = np.quantile(time, [1 - validation_share - test_share, 1 - test_share], method="lower").tolist()
    if not expect_number(validation_from, _FROM, error=DataError) < expect_number(test_from, _FROM, error=DataError):
        what = f"time split: validation starts at {validation_from}, which is not before the test at {test_from}"
        raise DataError(f"{what}: {_mend(time, shared)}")
    test = time >= test_from
    valid = (time >= validation_from) & ~test
    for name, part in {"training": ~(test | valid), "validation": valid, "test": test}.items():
        if not part.any():
            what = f"time split: no interaction falls into {name}: times run from {time.min()} to {time.max()}"
            raise DataError(f"{what}: {_mend(time, shared)}")
    options = {"validation_from": validation_from, "test_from": test_from, "targets": targets}
    return _assemble(interactions, valid, test, _manifest(interactions, "time", options), targets=targets)


def split_by_part(interactions: Interactions) -> Split:
    """Split as the data's own ``split`` column (train, valid, test) says.

    Raises:
        DataError: there is no such column, it holds another value (the row is named), or there is nothing to train on.
    """
    _check(interactions, "split_by_part")
    if interactions.part_fault:
        raise DataError(f"the data hold no given split: {interactions.part_fault}: correct it or choose another method")
    if interactions.part is None:
        raise DataError("the data hold no given split: add a column 'split' (train/valid/test) or choose another method")
    valid, test = interactions.part == 1, interactions.part == 2
    if (valid | test).all():
        raise DataError("the data's own split holds no row for training")
    return _assemble(interactions, valid, test, _manifest(interactions, "given", {}))


def cold_items(interactions: Interactions, *, share: float = 0.1, seed: int = 0, part: int | None = None) -> Split:
    """Hold out a uniform share of the catalogue: items that training never sees.

    They are gone from every training sequence and validation history, and stay in test histories. Test: leave-one-out targets that are
    held out. Validation: the interactions before last whose item is not held out.

    Args:
        interactions: the data.
        share: share of the catalogue, above 0 and below 1.
        seed: of the draw.
        part: which of the ``round(1 / share)`` parts, counted from 0, into which the seed deals the whole catalogue; None draws freely.

    Raises:
        DataError: a share outside its range or one that holds out no item, a part that is not there, or nothing left to train on.
    """
    _check(interactions, "cold_items")
    expect_whole(seed, "cold items: the seed", least=0, error=DataError)
    if not 0 < expect_number(share, "cold items: the share", error=DataError) < 1:
        raise DataError(f"cold items: the share must be above 0 and below 1, got {share}")
    held_out = _drawn(len(interactions.catalog), share, seed, part)
    if not len(held_out):
        raise DataError(f"cold items: a share of {share} of {len(interactions.catalog)} items holds out none: raise it")
    cold = np.isin(interactions.sequences.values, held_out)
    last, before = _nth_last(interactions, 1), _nth_last(interactions, 2)
    manifest = _manifest(interactions, "cold_items", {"share": share} | ({} if part is None else {"part": part}), seed=seed)
    whole = _assemble(interactions, before, last, manifest, test_target=last & cold, valid_target=before & ~cold, drop=cold)
    if not len(whole.train):
        raise DataError("cold items: nothing is left to train on: lower the share")
    manifest["counts"] |= {"held_out_items": len(held_out), "held_out_interactions": int(cold.sum())}
    manifest["held_out"] = interactions.catalog.ids.decode(held_out)
    return replace(whole, held_out=held_out)


def _drawn(items: int, share: float, seed: int, part: int | None) -> IntArray:
    """Return the inner ids that are held out, ascending."""
    generator = np.random.default_rng(seed)
    if part is None:
        return np.sort(generator.choice(items, size=round(share * items), replace=False)).astype(np.int64) + 1
    parts = round(1 / share)
    if expect_whole(part, "cold items: the part", least=0, error=DataError) >= parts:
        raise DataError(f"cold items: a share of {share} deals the catalogue into parts 0 to {parts - 1}, there is no part {part}")
    return np.sort(np.array_split(generator.permutation(items), parts)[part]).astype(np.int64) + 1


def _assemble(
    interactions: Interactions,
    valid: BoolArray,
    test: BoolArray,
    manifest: dict[str, Any],
    *,
    targets: Targets = "all",
    test_target: BoolArray | None = None,
    valid_target: BoolArray | None = None,
    drop: BoolArray | None = None,
) -> Split:
    """Build the three parts from masks over interactions, ``[total]`` each; ``drop`` leaves training and validation histories."""
    keep = ~(valid | test) if drop is None else ~(valid | test | drop)
    train = interactions.where(keep)
    validation = _evaluation(interactions, train.timed, valid if valid_target is None else valid_target, targets)
    histories = interactions.timed.where(~test)
    tested = _evaluation(interactions, histories, test if test_target is None else test_target, targets)
    manifest["counts"] |= _counts(interactions, train, validation, tested)
    return Split(interactions.catalog, train, validation, tested, manifest=manifest)


def _evaluation(interactions: Interactions, histories: Ragged, target: BoolArray, targets: Targets) -> EvaluationSet | None:
    """Return the users who have a history and a target; ``histories`` has a row of every user, ``target`` is ``[total]``."""
    if targets not in ("all", "first"):
        raise DataError(unknown_name("choice of targets", targets, ["all", "first"]))
    if targets == "first":
        rows = interactions.sequences.rows[target]
        first = np.zeros_like(target)
        first[np.flatnonzero(target)[np.unique(rows, return_index=True)[1]]] = True
        target = first
    chosen = interactions.sequences.where(target)
    users = np.flatnonzero((histories.lengths > 0) & (chosen.lengths > 0))
    if not len(users):
        return None
    return EvaluationSet(interactions.users.decode(users + 1), histories.take(users), chosen.take(users))


def given_manifest(
    interactions: Interactions, train: Interactions, validation: EvaluationSet | None, test: EvaluationSet | None
) -> dict[str, Any]:
    """Return the manifest of a split that came with the data."""
    manifest = _manifest(interactions, "given", {})
    manifest["counts"] |= _counts(interactions, train, validation, test)
    return manifest


def _counts(
    interactions: Interactions, train: Interactions, validation: EvaluationSet | None, test: EvaluationSet | None
) -> dict[str, int]:
    evaluated = np.zeros(len(interactions.users) + 1, bool)
    for part in (validation, test):
        if part is not None:
            evaluated[interactions.users.encode(part.users)] = True
    return {
        "users": len(interactions.users),
        "items": len(interactions.catalog),
        "interactions": len(interactions),
        "train_interactions": len(train),
        "train_users": int((train.sequences.lengths > 0).sum()),
        "train_items": int((train.item_counts > 0).sum()),
        "validation_users": len(validation) if validation else 0,
        "test_users": len(test) if test else 0,
        "users_not_evaluated": int((~evaluated[1:]).sum()),
        "repeated_interactions": interactions.repeats,
        "validation_targets_in_history": 0 if validation is None else validation.seen_targets,
        "test_targets_in_history": 0 if test is None else test.seen_targets,
    }


def _manifest(interactions: Interactions, method: str, options: dict[str, Any], *, seed: int | None = None) -> dict[str, Any]:
    return {
        "method": method,
        "options": options,
        "seed": seed,
        "data_hash": interactions.content_hash,
        "filters": list(interactions.filters),
        "notes": [*interactions.catalog.notes, *interactions.notes],
        "counts": {},
    }


def _from_end(interactions: Interactions) -> tuple[IntArray, BoolArray]:
    """Return how far each interaction is from its user's last, and whether the user has enough for three parts, ``[total]`` each."""
    sequences = interactions.sequences
    rows = sequences.rows
    return sequences.offsets[1:][rows] - 1 - np.arange(len(rows)), sequences.lengths[rows] >= _SHORTEST


def _nth_last(interactions: Interactions, place: int) -> BoolArray:
    """Say which interactions are the last but ``place - 1`` of a user who has enough for three parts, ``[total]``."""
    sequences = interactions.sequences
    chosen = np.zeros(len(interactions), bool)
    chosen[sequences.offsets[1:][sequences.lengths >= _SHORTEST] - place] = True
    return chosen


def _tied(interactions: Interactions, test: BoolArray, valid: BoolArray) -> int:
    time = interactions.timestamp
    return 0 if time is None else int((time[test] == time[valid]).sum())


def _check(interactions: object, method: str) -> None:
    mend = "dataset.interactions" if isinstance(getattr(interactions, "interactions", None), Interactions) else ""
    expect(interactions, Interactions, f"{method}: interactions", mend=mend)


def _check_shares(validation_share: float, test_share: float) -> None:
    for share in (validation_share, test_share):
        expect_number(share, "a share of a split", error=DataError)
    if not (0 < validation_share < 1 and 0 < test_share < 1 and validation_share + test_share < 1):
        raise DataError(f"the shares must be above 0 and add up to less than 1, got {validation_share} and {test_share}")


def _common_clock(interactions: Interactions) -> npt.NDArray[np.float64]:
    if interactions.timestamp is None:
        raise DataError(f"a global time split needs timestamps, and these data have none: {_NO_CLOCK}")
    if interactions.timestamp_is_position:
        raise DataError(
            f"a global time split needs a common clock, but the timestamps are only positions within each user (0, 1, 2, …): {_NO_CLOCK}"
        )
    return interactions.timestamp


def _mend(time: npt.NDArray[np.float64], shared: bool) -> str:
    """Say what helps where two moments leave a part empty; ``shared`` says that they come from shares."""
    if time.min() == time.max():
        return f"all times are alike: {_NO_CLOCK}, or name the column of the real times (--time-column NAME, time_column: NAME)"
    if shared:
        return f"too many interactions share a moment: {_NO_CLOCK}, or give validation_from and test_from to make_split"
    return f"give moments between {time.min()} and {time.max()}, validation_from before test_from, or leave both out"
