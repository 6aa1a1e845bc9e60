"""Will a training run fit a machine: its memory by part and its time, from the model's config alone."""
