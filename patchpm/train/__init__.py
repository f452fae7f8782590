"""Distilling a policy into a prefix: SFT, then DPO."""
