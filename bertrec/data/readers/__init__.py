"""Readers, one file per format: each turns files into a ``bertrec.data.readers.raw.RawData``, without models."""
