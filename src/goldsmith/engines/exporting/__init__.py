"""Models in the forms other people's tools read, each compared with the model it was made from."""
