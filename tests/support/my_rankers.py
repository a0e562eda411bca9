"""The ranker of docs/extending.md as a module outside bertrec."""

import pages

SOURCE = pages.source("my_rankers")
exec(compile(SOURCE, str(pages.PAGE), "exec"))
