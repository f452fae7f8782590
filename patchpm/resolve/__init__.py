"""Requirements in, releases in their order out; failures are told as a proof with ways out."""
