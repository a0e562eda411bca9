"""A cross-encoder: history and candidate read together, one number for the pair."""
