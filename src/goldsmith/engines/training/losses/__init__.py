"""Losses as pure functions of hidden states, log-probabilities and scores."""
