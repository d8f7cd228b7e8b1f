"""Bitcoin and its test networks."""
