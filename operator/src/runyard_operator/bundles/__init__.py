"""Code bundles: files named by their content. Pure; `digest` is also used inside the pods."""
