"""Level 7: what lives on over time: jobs, quotas, assignments, the loop."""
