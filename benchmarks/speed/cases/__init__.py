"""One file per part of the package: what is timed against what."""
