"""Which state is served: a new one is read beside the old one and takes its place whole, so that no request meets half of it."""

from __future__ import annotations

import logging
import time
from threading import Event, Lock, Thread

from bertrec.core.errors import BertrecError
from bertrec.core.shown import visible
from bertrec.service.errors import FAULT_TEXT
from bertrec.service.loaded import Loaded, Source, Stamp

logger = logging.getLogger("bertrec.service")

_AGAIN = 60.0  # seconds after which a state that could not be served is tried once more: memory or files may have been short


class Holder:
    """Holds the state that is served, and watches for a newer one.

    Args:
        source: where it lies.
        every: seconds between two looks.

    Raises:
        BertrecError: there is none that can be served.
    """

    def __init__(self, source: Source, *, every: float = 1.0) -> None:
        self.source, self._every = source, every
        self.current = Loaded.read(source)
        self.reloads = self.failures = 0
        self.problem: str | None = None
        """Why the newest state is not served, in a line; None where it is."""
        self._failed: Stamp | None = None
        self._again = 0.0
        self._lock, self._over = Lock(), Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to watch, also once more after an end."""
        self._over.clear()
        self._thread = Thread(target=self._watch, name="reload", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def refresh(self) -> bool:
        """Serve what lies there, where it is another state than the one served; one that cannot be served leaves the old one.

        Returns:
            Whether another state is served now.
        """
        with self._lock:
            try:
                stamp = self.source.stamp()
                if stamp == self.current.stamp:
                    self.problem = self._failed = None  # what is served is back
                    return False
                if stamp == self._failed and time.monotonic() < self._again:
                    return False
                self._failed, self._again = stamp, time.monotonic() + _AGAIN  # until it is seen to be whole
                self.current = Loaded.read(self.source)
            except (BertrecError, OSError) as error:
                return self._fails(visible(error))
            except Exception:
                logger.exception("reload failed")
                return self._fails(FAULT_TEXT)
            self.reloads, self.problem, self._failed = self.reloads + 1, None, None
        logger.info("reloaded %s: %d items", self.source.run.folder, len(self.current.catalog))
        return True

    def _fails(self, problem: str) -> bool:
        self.failures += 1
        if problem != self.problem:
            logger.warning("the state of %s is served on: the new one cannot be: %s", self.current.since, problem)
        self.problem = problem
        return False

    def _watch(self) -> None:
        while not self._over.wait(self._every):
            self.refresh()
