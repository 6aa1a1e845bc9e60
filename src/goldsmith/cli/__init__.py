"""Level 8: doors on the command line: parse, call one stage, print."""
