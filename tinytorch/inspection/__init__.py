"""Looking into a trained GPT: the glass model.

recording: attention and residual stream of one text, the logit lens. ablation: heads that are
knocked out. distributions: probabilities and losses. vectors: neighbours among embeddings. writing,
live_training: texts and models as they grow. session: all of these as JSON messages, which a page
sends to the server of `tito look`, or to Pyodide in a web worker.
"""

from .ablation import ablated_heads, head_effects
from .distributions import probabilities, text_loss
from .recording import Recording, logit_lens, record
from .session import Session
from .vectors import nearest_neighbours, principal_plane

__all__ = [
    "Recording",
    "Session",
    "ablated_heads",
    "head_effects",
    "logit_lens",
    "nearest_neighbours",
    "principal_plane",
    "probabilities",
    "record",
    "text_loss",
]
