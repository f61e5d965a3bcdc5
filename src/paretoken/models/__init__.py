"""Providers: OpenAI-compatible HTTP, local GGUF files, recorded answers, an echo, and the rest through litellm."""
