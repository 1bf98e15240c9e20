"""Chat templates: the text in which a chat model was trained to see a conversation.

Models come with their template as a program in Jinja. The templates of the supported models differ
in little, so they are the rows of a table here, and a model's row is found by the marks in its
Jinja template.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..arguments import shown
from ..tokenization import split_special
from .tokenizer import PretrainedTokenizer


@dataclass(frozen=True)
class ChatTemplate:
    """How a conversation is written; {} stands for what is said.

    Attributes:
        name: its name.
        mark: a text by which the model's own template in Jinja is recognised.
        begin: what a conversation begins with.
        system: the message that says how to answer.
        user: a question, and what precedes the answer.
        end: what follows an answer; its special token ends an answer.
        default_system: the system message of a conversation without one, or None.
        strip: whether white space around what is said is removed.
    """

    name: str
    mark: str
    system: str
    user: str
    end: str
    begin: str = ""
    default_system: str | None = None
    strip: bool = False


TEMPLATES = [
    ChatTemplate(
        "ChatML", "<|im_start|>",
        system="<|im_start|>system\n{}<|im_end|>\n",
        user="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
        end="<|im_end|>\n",
    ),
    ChatTemplate(
        "Llama 3", "<|start_header_id|>",
        begin="<|begin_of_text|>",
        system="<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
        strip=True,
    ),
]  # fmt: skip


def find_template(jinja: str | None) -> ChatTemplate | None:
    """Return the template that stands for one in Jinja; None if the model has none.

    The default system message is taken from the Jinja template.

    Raises:
        ValueError: the template is none of the known ones.

    >>> find_template("{{ '<|im_start|>' + message['role'] + ... }}").name
    'ChatML'
    """
    if jinja is None:
        return None
    for template in TEMPLATES:
        if template.mark in jinja:
            return replace(template, default_system=_default_system(template, jinja))
    known = ", ".join(template.name for template in TEMPLATES)
    raise ValueError(f"its chat template is not a known one; known are {known}: {shown(jinja)}")


def _default_system(template: ChatTemplate, jinja: str) -> str | None:
    """The system message that a Jinja template itself writes, as one string."""
    parts = (part.replace("\\ ", " ") for part in map(re.escape, template.system.split("{}")))
    before, after = (part.replace("\\\n", r"(?:\n|\\n)") for part in parts)
    found = re.search(f"['\"]{before}([^'\"{{}}]+?){after}", jinja)
    return found[1].replace("\\n", "\n") if found else None


class Conversation:
    """A conversation as ids for a model: what is said is encoded once, and never as special tokens.

    Args:
        tokenizer: the model's tokenizer.
        template: the model's chat template; by default the one of the tokenizer.
        system: how to answer; the template's own message by default, "" for none.

    Raises:
        ValueError: the model has no chat template, or its tokenizer lacks a token of it.
    """

    def __init__(
        self,
        tokenizer: PretrainedTokenizer,
        template: ChatTemplate | None = None,
        system: str | None = None,
    ) -> None:
        template = template or find_template(tokenizer.chat_template)
        if template is None:
            raise ValueError("the model has no chat template: it was not trained for conversations")
        self.tokenizer, self.template = tokenizer, template
        self.system = template.default_system if system is None else system
        self.stop_ids = self._stop_ids()

    def _stop_ids(self) -> list[int]:
        """The ids that end an answer: that of the template, and that of the end of a text."""
        special = self.tokenizer.special_tokens
        marks = split_special(self.template.end, special)[1::2]
        if not marks:
            raise ValueError(
                f"the tokenizer has no special token of the chat template {self.template.name},"
                f" which ends an answer with {self.template.end.strip()}"
            )
        eos = self.tokenizer.eos_id
        return sorted({special[marks[0]], special[marks[0]] if eos is None else eos})

    def begin(self) -> list[int]:
        """Return the ids before the first question."""
        return self._ids(self._begin(self.system))

    def ask(self, question: str) -> list[int]:
        """Return the ids of a question, after which the model answers."""
        return self._ids(self._parts(self.template.user, question))

    def end(self, answer: Sequence[int] = ()) -> list[int]:
        """Return the ids that follow an answer, without the one in which the answer itself ends."""
        ids = self._ids(self._parts(self.template.end))
        return ids[1:] if answer and answer[-1] == ids[0] else ids

    def ids(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Return the ids of a whole conversation.

        Args:
            messages: dictionaries with "role" and "content": questions of the "user" and answers of
                the "assistant" in turn; the first may be of the "system" instead. If the last one
                is a question, the model answers it.

        Raises:
            ValueError: a message lacks something, or is not in its turn.
        """
        said = [(message.get("role"), _content(message)) for message in messages]
        system = said.pop(0)[1] if said and said[0][0] == "system" else self.system
        parts = self._begin(system)
        for number, (role, content) in enumerate(said):
            if role != ("user", "assistant")[number % 2]:
                raise ValueError(
                    "a conversation is questions of the user and answers of the assistant in turn;"
                    f" message {number + 1} is of {shown(role)}"
                )
            text = self.template.user if role == "user" else "{}" + self.template.end
            parts += self._parts(text, content)
        return self._ids(parts)

    def _begin(self, system: str | None) -> list[str | int]:
        parts = self._parts(self.template.begin)
        return parts + self._parts(self.template.system, system) if system else parts

    def _parts(self, text: str, said: str = "") -> list[str | int]:
        """A part of the template around what is said: texts, and the ids of special tokens."""
        special = self.tokenizer.special_tokens
        said = said.strip() if self.template.strip else said
        return [
            special[part] if n % 2 else part.replace("{}", said)
            for n, part in enumerate(split_special(text, special))
        ]

    def _ids(self, parts: Sequence[str | int]) -> list[int]:
        """Encode texts, adjoining ones together; special tokens within them are ordinary text."""
        ids: list[int] = []
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
            else:
                ids += [*self.tokenizer.encode(text), part]
                text = ""
        return ids + self.tokenizer.encode(text)


def _content(message: Mapping[str, str]) -> str:
    content = message.get("content")
    if not isinstance(content, str):
        raise ValueError(f"a message needs a content, a str, not {shown(content)}")
    return content
