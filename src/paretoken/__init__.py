"""Find the cheapest prompt and model that is still good enough, prove it, and never overspend while finding out."""
