"""Errors as HTTP says them: a status, and one line that says what is wrong and how to mend it."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from bertrec.core.errors import BertrecError
from bertrec.core.resuming import InUse
from bertrec.core.shown import visible

BAD, NO_KEY, FORBIDDEN, MISSING, TOO_LARGE, MALFORMED, FAULT, BUSY, SLOW, FULL = 400, 401, 403, 404, 413, 422, 500, 503, 504, 507
_FULL = (errno.ENOSPC, errno.EDQUOT)
FAULT_TEXT = "fault inside bertrec: the log of the service says what happened"


class Refused(BertrecError):
    """A request that is refused with a status of its own."""

    def __init__(self, status: int, text: object) -> None:
        super().__init__(text)
        self.status = status


def status_of(error: BaseException) -> int:
    """Return the status of an answer: 400 for what the caller can mend, 503 or 507 for what another try may mend."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, InUse):
        return BUSY
    if any(isinstance(cause, OSError) and cause.errno in _FULL for cause in _causes(error)):
        return FULL
    return BAD if isinstance(error, BertrecError) else FAULT


def shown(error: BaseException) -> dict[str, str]:
    """Return the body of an answer; of a fault of ours it says nothing that only the log should hold."""
    known = status_of(error) != FAULT
    return {"error": visible(error) if known else FAULT_TEXT}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
