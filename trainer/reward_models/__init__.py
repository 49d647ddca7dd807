"""Reward models: trained on preference pairs by named recipes, saved as safetensors, and scored with in batches."""
