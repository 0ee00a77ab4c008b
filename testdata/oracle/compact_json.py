"""JSON of fixtures, laid out to be read and diffed: used by the scripts beside it."""

import json


def dumps(value, depth=0):
    """One line for each object or list below the second level that holds no object; one space of indent."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not inner or (depth > 1 and not any(isinstance(v, dict) for v in inner)):
        return json.dumps(value, ensure_ascii=False)
    pad, end = " " * (depth + 1), "\n" + " " * depth
    if isinstance(value, dict):
        lines = [f"{pad}{json.dumps(k, ensure_ascii=False)}: {dumps(v, depth + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + end + "}"
    return "[\n" + ",\n".join(pad + dumps(v, depth + 1) for v in value) + end + "]"


def write(path, value):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write(dumps(value) + "\n")
