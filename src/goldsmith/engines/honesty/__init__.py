"""Answers that say what is not known: telling them, and making rows that teach them."""
