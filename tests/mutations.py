"""What another version or a hand may have made of a record: fields left out, renamed, or of another kind."""

import copy
import math

RENAMED, ANOTHER = "renamed_", "another"


def mutated(content, keep=()):
    """(field, how, content) for each change of one field; a field is named as in messages: `resumed.0.epoch`.

    What is called ANOTHER may be a value that some record of the kind has.

    keep   fields whose own entries are left as they are: they may be called anything
    """
    for path in _paths(content, (), keep):
        field = ".".join(map(str, path))
        value = _at(content, path)
        changes = {"a list": [value], "null": None, "a table": {"x": 1}}
        changes[ANOTHER if isinstance(value, str) else "text"] = "x"
        if isinstance(value, int | float) and not isinstance(value, bool):
            changes |= {"negative": -value, "NaN": math.nan, "infinite": math.inf, ANOTHER: 10**400}
            changes |= {"half": value + 0.5} if isinstance(value, int) else {}
        elif isinstance(value, list) and value:
            changes |= {ANOTHER: value[:-1]}
        elif isinstance(value, bool):
            changes |= {"the opposite": not value, "a number": int(value)}
        for how, other in changes.items():
            if type(other) is not type(value) or other != value:
                yield field, how, _with(content, path, other)
        if isinstance(path[-1], str):
            without = _with(content, path, None)
            del _at(without, path[:-1])[path[-1]]
            yield field, "left out", without
            renamed = copy.deepcopy(without)
            _at(renamed, path[:-1])[RENAMED + path[-1]] = value
            yield field, "renamed", renamed


def _paths(content, path, keep):
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        if ".".join(map(str, (*path, key))) not in keep:
            yield from _paths(value, (*path, key), keep)


def _at(content, path):
    for key in path:
        content = content[key]
    return content


def _with(content, path, value):
    content = copy.deepcopy(content)
    _at(content, path[:-1])[path[-1]] = value
    return content
