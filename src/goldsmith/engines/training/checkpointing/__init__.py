"""What a run leaves on disk to go on from: wholly there or not there at all."""
