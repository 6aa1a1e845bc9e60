"""Is synthetic text like the human text it stands in for? Statistics with exact or verified p-values."""
