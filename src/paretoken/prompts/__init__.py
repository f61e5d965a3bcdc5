"""Prompts: named templates whose version is the hash of their content."""

from paretoken.prompts.library import Prompt, load_prompts

__all__ = ["Prompt", "load_prompts"]
