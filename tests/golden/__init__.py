"""Numbers that only a change of method may move."""
