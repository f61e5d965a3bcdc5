"""Conformance suites: what every implementation of a seam must hold."""
