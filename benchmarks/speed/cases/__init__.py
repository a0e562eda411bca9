"""One file a part of the package: what is timed against what."""
