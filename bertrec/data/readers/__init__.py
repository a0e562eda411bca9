"""Readers, one file per format: each turns files into a :class:`bertrec.data.readers.raw.RawData`, without models."""
