"""Encoders with a masked-language-model head: loading, tuning depths, their attention over a shared prefix."""
