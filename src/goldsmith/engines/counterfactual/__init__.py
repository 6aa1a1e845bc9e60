"""The same text about another group: swapped words and names, twins of records, and what two answers have in common."""
