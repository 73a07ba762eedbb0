"""What an experiment in mode Plan shows: pure text, redacted and bounded."""
