"""How a loaded model writes: choosing tokens, running requests as one batch, turning ids into text."""
