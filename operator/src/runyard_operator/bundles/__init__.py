"""Code bundles: files named by their content. `digest` is also used inside the pods."""
