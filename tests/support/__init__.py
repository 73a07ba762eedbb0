"""Helpers of the tests: waiting, kubectl, the audit log, an operator as a process."""
