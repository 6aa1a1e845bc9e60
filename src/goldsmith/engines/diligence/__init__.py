"""A due-diligence report: checked rows and votes in, a plain `Diligence` value out, and one HTML page drawn from it."""
