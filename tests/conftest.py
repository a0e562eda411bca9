"""Hypothesis draws fewer examples than its 100 by default, so that all checks fit into a quarter of an hour on two cores.

``HYPOTHESIS_PROFILE=thorough pytest`` draws 500; a test that names its own number keeps it.
"""

import os

from hypothesis import settings

settings.register_profile("quick", max_examples=40)
settings.register_profile("thorough", max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
