ALTERNATIVES: list = []
