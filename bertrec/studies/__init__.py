"""What an encoder knows of a catalogue (probes), and what it assumes of people (audit)."""
