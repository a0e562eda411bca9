"""The classes of docs/extending.md, chapter “Parts”, as a module outside bertrec."""

from __future__ import annotations

import pages

SOURCE = pages.source("my_parts")
COMMANDS = pages.commands("Parts")

exec(compile(SOURCE, str(pages.PAGE), "exec"))
