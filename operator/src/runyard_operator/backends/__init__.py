"""One module or package for each executor, all behind the protocol of `base`."""
