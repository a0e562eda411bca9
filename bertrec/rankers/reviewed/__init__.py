"""Rankers that read what was written of items: U-BERT's co-matching."""
