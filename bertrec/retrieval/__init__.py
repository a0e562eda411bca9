"""Retrieval: a FAISS index over item vectors, with exact filtering of seen items in batches."""
