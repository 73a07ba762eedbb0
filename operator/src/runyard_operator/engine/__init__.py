"""The pure engine: a snapshot goes in, a decision comes out. No I/O, no clock, no randomness."""
