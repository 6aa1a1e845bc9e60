"""Learning from rewards: the model's own answers, sampled in groups, scored, and made likelier or less likely."""
