"""Who owns the assets."""

OWNERS = ["team:post-training"]
