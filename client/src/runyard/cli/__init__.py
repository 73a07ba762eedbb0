"""The command line `runyard`, also `kubectl runyard`."""
