"""Probes: what an encoder knows of a catalogue before any training."""
