"""Models of other programs: read from their files, and written for them.

>>> from tinytorch.pretrained import load_pretrained
>>> load_pretrained("no-such-folder/model.gguf")
Traceback (most recent call last):
tinytorch.pretrained.errors.PretrainedError: there is no file or folder no-such-folder/model.gguf
"""

from .errors import PretrainedError as PretrainedError
from .load import load_pretrained as load_pretrained
from .save import save_pretrained as save_pretrained
