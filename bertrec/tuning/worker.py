"""``python -m bertrec.tuning.worker FOLDER SECONDS NUMBER``: run trials of the study in a folder until they are done or time is over."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

from bertrec.tuning.plan import load_plan
from bertrec.tuning.run import open_study, work_on


def main(folder: Path, seconds: float, number: int) -> None:
    """Work on the study as worker ``number``; 0 seconds sets no limit."""
    deadline = time.monotonic() + seconds if seconds else math.inf
    work_on(folder, open_study(load_plan(folder), worker=number), deadline=deadline)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
