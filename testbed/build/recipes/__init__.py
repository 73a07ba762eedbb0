"""The ways in which artefacts are made: one module each."""
