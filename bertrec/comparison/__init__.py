"""Compare text models with ID-only ones: one split, one evaluator, equal minutes, and tests."""
