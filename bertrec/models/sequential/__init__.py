"""The network over text, IDs or both that UniSRec, MoRec and IDRec share."""
