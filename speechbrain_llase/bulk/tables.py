"""Tables with a column of audio: parquet, and Arrow files of `datasets`.

The column holds encoded audio as bytes, or a struct of bytes and path as
Hugging Face datasets do. Rows are read in small batches and written in their
order; other columns go through as they are. The result is a parquet file.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from speechbrain_llase.bulk.container_items import (
    Container,
    Contents,
    InsideOptions,
    Item,
)
from speechbrain_llase.bulk.storage import open_stream

if TYPE_CHECKING:
    import pyarrow as pa

    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

HUGGING_FACE = b"huggingface"  # their description in a schema
ROWS_AT_ONCE = 32  # read together, and in a group of rows of the result


def enhance_table(
    enhancer: "EnhanceLLaSE",
    source: str,
    path: Path,
    options: InsideOptions,
    stop: Callable[[], bool] = lambda: False,
) -> Contents:
    """Enhance the recordings of one table; `path` gets a parquet file.

    `source` is a parquet file, or an Arrow file as `save_to_disk` of Hugging
    Face datasets writes them; its column, if `options` name none, is the one
    that is described as audio, or else the one named `audio`. Rows whose
    recording fails hold null in the column. ValueError: the file is no table,
    or has no such column; Stopped: `stop` was true. After an error `path` is
    incomplete.
    """
    pa, pq = import_arrow()
    try:
        with (
            open_stream(source) as file,
            tempfile.TemporaryDirectory(prefix="llase-") as scratch,
            open_batches(file) as (schema, batches),
        ):
            column = find_column(schema, options.column)
            rate = enhancer.hparams.sample_rate
            rate = None if options.taken.keep_rate else rate
            schema = describe_result(schema, column, rate)
            with pq.ParquetWriter(path, schema) as out:
                table = Table(batches, column, out, Path(scratch), options)
                return table.enhance(enhancer, stop)
    except pa.ArrowException as err:
        reason = " ".join(str(err).split())
        raise ValueError(f"not a table, or damaged: {reason}") from err


def import_arrow() -> tuple[Any, Any]:
    """Import pyarrow, or say what is missing."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as err:
        raise ValueError(
            "tables need a package that is missing here; pip install "
            '"speechbrain_llase[tables]"'
        ) from err
    return pa, pq


@contextmanager
def open_batches(
    file: BinaryIO,
) -> Iterator[tuple["pa.Schema", Iterator["pa.RecordBatch"]]]:
    """Open parquet, an Arrow stream or an Arrow file, by its first bytes."""
    pa, pq = import_arrow()
    magic = file.read(8)
    file.seek(0)
    if magic.startswith(b"PAR1"):
        with pq.ParquetFile(file, pre_buffer=False) as table:
            yield table.schema_arrow, table.iter_batches(ROWS_AT_ONCE)
        return
    if magic.startswith(b"ARROW1"):
        with pa.ipc.open_file(file) as table:
            count = table.num_record_batches
            whole = (table.get_batch(k) for k in range(count))
            yield table.schema, smaller(whole)
        return
    with pa.ipc.open_stream(file) as table:
        yield table.schema, smaller(table)


def smaller(batches: Iterator["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
    """Cut batches to `ROWS_AT_ONCE` rows."""
    for batch in batches:
        for at in range(0, batch.num_rows, ROWS_AT_ONCE):
            yield batch.slice(at, ROWS_AT_ONCE)


class Table(Container):
    """A table that is copied while its recordings are enhanced."""

    def __init__(
        self,
        batches: Iterator["pa.RecordBatch"],
        column: str,
        *container: Any,
    ):
        super().__init__(*container)
        self.batches = batches
        self.column = column
        self.rows = 0

    def items(self) -> Iterator[Item]:
        """Yield the recordings of row after row."""
        for batch in self.batches:
            cells = batch.column(self.column)
            items = [self.item(k, x) for k, x in enumerate(cells, self.rows)]
            self.rows += batch.num_rows
            self.waiting.append((batch, items))
            yield from (item for item in items if not item.is_done)
            self.flush()

    def item(self, number: int, cell: "pa.Scalar") -> Item:
        """Read one cell."""
        name, data = "", cell
        if hasattr(cell, "keys") and cell.is_valid:
            data = cell["bytes"]
            name = cell["path"].as_py() if "path" in cell else None
        told = f"row {number}" + (f" ({name})" if name else "")
        ending = self.options.format_for(name or "")
        item = Item(told, None, self.scratch / f"{number}.{ending}")
        if data.is_valid:
            item.source = BytesIO(data.as_buffer())
        else:
            item.is_done, item.error = True, "it holds no bytes."
            self.contents.fail(told, item.error)
        return item

    def flush(self) -> None:
        """Write the batches whose recordings are all there."""
        while self.waiting:
            batch, items = self.waiting[0]
            if not all(item.is_done for item in items):
                return
            self.waiting.popleft()
            self.out.write_batch(self.filled(batch, items))

    def filled(
        self, batch: "pa.RecordBatch", items: list[Item]
    ) -> "pa.RecordBatch":
        """Put the results into a batch."""
        import pyarrow as pa

        place = batch.schema.get_field_index(self.column)
        field = batch.schema.field(place)
        old = batch.column(place)
        cells = []
        for item, cell in zip(items, old, strict=True):
            data = None
            if not item.error:
                data = item.result.read_bytes()
                item.result.unlink()
            cells.append(new_cell(cell, data, item.result.suffix))
        columns = list(batch.columns)
        columns[place] = pa.array(cells, field.type)
        return pa.RecordBatch.from_arrays(columns, schema=self.out.schema)


def new_cell(cell: "pa.Scalar", data: bytes | None, ending: str) -> Any:
    """Replace the bytes of a cell, and the ending of its path."""
    if data is None or not hasattr(cell, "keys"):
        return data
    fields = {
        key: None if key == "bytes" else cell[key].as_py() for key in cell
    }
    if isinstance(fields.get("path"), str) and fields["path"]:
        fields["path"] = str(PurePosixPath(fields["path"]).with_suffix(ending))
    return {**fields, "bytes": data}


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


def describe_result(
    schema: "pa.Schema", column: str, rate: int | None
) -> "pa.Schema":
    """Let the column hold null, and correct the sampling rate it states.

    It stays where each recording keeps its own.
    """
    place = schema.get_field_index(column)
    schema = schema.set(place, schema.field(place).with_nullable(True))
    if not isinstance(features(schema).get(column), dict):
        return schema
    told = json.loads(schema.metadata[HUGGING_FACE])
    feature = told["info"]["features"][column]
    if rate and feature.get("sampling_rate"):
        feature["sampling_rate"] = rate
    changed = {HUGGING_FACE: json.dumps(told).encode()}
    return schema.with_metadata({**schema.metadata, **changed})
