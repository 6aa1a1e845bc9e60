"""A model's report: facts from the workspace, figures from the facts, one HTML page from both."""
