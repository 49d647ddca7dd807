"""What can go wrong with an export or a push. Loads nothing: the command imports it at every start."""


class ExportError(ValueError):
    """A release cannot be exported as asked; the message says which rows are in the way and which options there are."""


class HubError(RuntimeError):
    """The hub cannot be reached or refuses, or the release is not as it was written; the message says what to do."""
