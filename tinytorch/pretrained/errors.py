"""What is raised if weights cannot be read or written."""


class PretrainedError(ValueError):
    """Weights, or what belongs to them, cannot be used; the message is one sentence with why."""
