"""Other trainers' configuration files as recipes, with an account of every line."""
