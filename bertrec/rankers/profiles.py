"""The profile of each row's user, in words."""

from __future__ import annotations

from bertrec.rankers.context import Context


def profiles_of(context: Context) -> list[str]:
    """Return the profile of the user of each row, ``[n]``; ``""`` where there is none."""
    users = context.known.users
    if users is None:
        return [""] * len(context)
    texts = ["", *users.texts]
    return [texts[number] for number in users.ids.encode(context.users).tolist()]
