"""Published systems, each one short file of defaults over the shared parts, and the contract that all of them keep."""
