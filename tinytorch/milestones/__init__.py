"""Parts of the programs in `milestones/` of 1958 to 1998, and of the chat of 2024.

program: flags, claims, results and exit code. classifier: training and evaluating on digits.
pictures: plots of digits. timeline: the picture of all milestones. chat,
chat_pictures, dialogues: talking to a model, what it thought, training it on dialogues.
"""
