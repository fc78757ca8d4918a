"""`llada run` and `llada chat`, and what commands have in common. `llada.__main__` knows all commands."""
