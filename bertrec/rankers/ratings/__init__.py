"""Rankers that predict ratings: biases, factors, and biases with texts."""
