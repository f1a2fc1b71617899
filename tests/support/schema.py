"""
JSON Schema, as far as client/schemas uses it

check(value, schema) asserts that a value is as its schema says, and returns the paths of the
properties that the value has, so that a test can tell which ones no output has shown yet. A keyword
that is not known here is an error: what is not checked must not look as if it were.
"""

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_KNOWN = {
    "$schema",
    "title",
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "minimum",
}


def check(value, schema, path=""):
    """The paths of all properties that were seen, as a set; AssertionError where it does not fit."""
    unknown = set(schema) - _KNOWN
    assert not unknown, f"{path}: keywords that are not known here: {unknown}"
    _check_type(value, schema, path)
    if "enum" in schema:
        assert value in schema["enum"], f"{path}: {value!r} is none of {schema['enum']}"
    if "minimum" in schema and value is not None:
        assert value >= schema["minimum"], f"{path}: {value!r} is below {schema['minimum']}"
    if isinstance(value, dict):
        return _check_object(value, schema, path)
    if isinstance(value, list):
        return set().union(*(check(item, schema["items"], f"{path}[]") for item in value))
    return set()


def _check_type(value, schema, path):
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    fits = any(isinstance(value, _TYPES[name]) for name in types)
    if isinstance(value, bool):
        fits = "boolean" in types
    assert fits, f"{path}: {value!r} is of none of the types {types}"


def _check_object(value, schema, path):
    properties = schema.get("properties", {})
    missing = set(schema.get("required", [])) - set(value)
    assert not missing, f"{path}: missing are {missing}"
    seen = set()
    for key, item in value.items():
        more = properties.get(key, schema.get("additionalProperties", True))
        assert more is not False, f"{path}: {key!r} is not in the schema"
        assert more is not True, f"{path}: {key!r} has no schema"
        seen |= {f"{path}.{key}"} if key in properties else set()
        seen |= check(item, more, f"{path}.{key}")
    return seen


def paths(schema, path=""):
    """The paths of all properties that a schema has."""
    found = set()
    for key, item in schema.get("properties", {}).items():
        found |= {f"{path}.{key}"} | paths(item, f"{path}.{key}")
    if "items" in schema:
        found |= paths(schema["items"], f"{path}[]")
    return found
