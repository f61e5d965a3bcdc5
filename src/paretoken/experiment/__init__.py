"""Experiments: a spec becomes a design, planners put trials, one runner sends them through the gateway."""
