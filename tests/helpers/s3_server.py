"""An S3 server for tests, where s3fs and moto[server] are installed."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def serve() -> Iterator[str]:
    """Serve an empty bucket; skips the test where the packages are missing.

    The environment then says where the server is, to new processes too.
    """
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    from speechbrain_llase.bulk.filesystems import connect

    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "of-a-test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "of-a-test")
        bucket = f"s3://test-{uuid.uuid4().hex}"
        connect(bucket)[0].clear_instance_cache()
        fs, name = connect(bucket)
        fs.mkdir(name)
        yield bucket
        fs.clear_instance_cache()
    server.stop()
