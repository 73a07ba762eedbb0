"""Proof that a backend keeps the contract of `backends.base`, for ours and for anybody's."""
