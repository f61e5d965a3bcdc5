"""Records to facts: pure functions of what the journal holds, so that old runs stay readable."""
