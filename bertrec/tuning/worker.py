"""``python -m bertrec.tuning.worker FOLDER SECONDS NUMBER``: run trials of the study in a folder until they are done or time is over."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

from bertrec.core.files import read_json
from bertrec.core.plugins import vouch
from bertrec.tuning.plan import PLAN, TunePlan, load_plan
from bertrec.tuning.run import open_study, work_on


def main(folder: Path, seconds: float, number: int) -> None:
    """Work on the study as worker ``number``; 0 seconds sets no limit."""
    vouch(TunePlan.from_dict(read_json(folder / PLAN)).foreign_classes)  # whoever started this worker has read the plan
    deadline = time.monotonic() + seconds if seconds else math.inf
    work_on(folder, open_study(load_plan(folder), worker=number), deadline=deadline)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
