"""The protocol as a reader needs it: every value of it by its dotted name, then versions and the machine."""

from __future__ import annotations

from bertrec.comparison.report.view import View
from bertrec.pages.blocks import Block, Text
from bertrec.pages.values import values_table

_APART = {"versions": "Versions", "machine": "Machine"}


def protocol_blocks(view: View) -> list[Block]:
    """Return the protocol, then versions and machine in tables of their own."""
    protocol = {name: value for name, value in view.protocol.items() if name not in _APART}
    if not view.protocol:
        return [Text("No protocol was recorded.")]
    apart = [values_table(title, view.protocol[name]) for name, title in _APART.items() if view.protocol.get(name)]
    return [values_table("What the figures were measured under", protocol), *apart]
