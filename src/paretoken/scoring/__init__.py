"""Judges of answers: similarity to a reference, rules, recorded scores. Resolved by name through entry points."""
