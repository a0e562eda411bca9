"""Asking a BERT: retrieve and rerank, profiles in words, probes and audits."""
