"""A ranker of token interactions, BM25 and priors, with no BERT at query time."""
