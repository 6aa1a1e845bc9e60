"""Grading sampled answers: templates, formulas, text similarity, numbers, endpoints, and asking a reward safely."""
