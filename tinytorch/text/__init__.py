"""Text: the tokenizer interface, the GPT-2 file formats and fast byte-pair encoding."""
