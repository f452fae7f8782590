"""A registry server that speaks the Hugging Face Hub's protocol, so that its unmodified clients work against it."""
