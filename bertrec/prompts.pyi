from bertrec.rankers.prompts import *  # noqa: F403  # the same names
