"""Which column of a table holds audio, and how the table describes it."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

HUGGING_FACE = b"huggingface"  # their description in a schema


def find_column(schema: "pa.Schema", name: str | None) -> str:
    """Name the column of audio, or refuse the table."""
    if name is None:
        described = [
            key
            for key, feature in features(schema).items()
            if isinstance(feature, dict) and feature.get("_type") == "Audio"
        ]
        name = described[0] if len(described) == 1 else "audio"
    if name not in schema.names or not holds_bytes(schema.field(name).type):
        kinds = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise ValueError(
            f"the table has no column {name!r} of encoded audio; columns: "
            f"{kinds}. Name one that holds bytes, or a struct with a field "
            "bytes, with --column."
        )
    return name


def holds_bytes(kind: "pa.DataType") -> bool:
    """Tell whether a column's type can hold encoded audio."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and holds_bytes(kind.field(place).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def features(schema: "pa.Schema") -> dict[str, Any]:
    """What Hugging Face datasets know of the columns; often nothing."""
    told = (schema.metadata or {}).get(HUGGING_FACE)
    try:
        return json.loads(told)["info"]["features"] if told else {}
    except (ValueError, KeyError, TypeError):
        return {}


def describe_result(schema: "pa.Schema", column: str, rate: int) -> "pa.Schema":
    """Let the column hold null, and correct the sampling rate it states."""
    place = schema.get_field_index(column)
    schema = schema.set(place, schema.field(place).with_nullable(True))
    if not isinstance(features(schema).get(column), dict):
        return schema
    told = json.loads(schema.metadata[HUGGING_FACE])
    feature = told["info"]["features"][column]
    if feature.get("sampling_rate"):
        feature["sampling_rate"] = rate
    changed = {HUGGING_FACE: json.dumps(told).encode()}
    return schema.with_metadata({**schema.metadata, **changed})
