"""Fixtures that give a user's own integration tests a running devnet."""
