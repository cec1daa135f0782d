"""Conversations, the LangChain chain, and the service that joins them. Knows no page."""
