"""An OpenAI-compatible front of stock engines, which sees to it that every request carries its patches."""
