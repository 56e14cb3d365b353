"""A service of the test's own process, as `xfer serve` has it, and what asks one."""

import http.client
import json
import threading

import uvicorn

from xfer.serving.app import Model, application
from xfer.serving.batches import Batches
from xfer.serving.serve import Served, bind, open_source
from xfer.testing.numpy_backend import NumpyBackend

BACKEND = NumpyBackend()
MOST = 200_000  # bytes of a request


class Client:
    def __init__(self, address):
        self.address = address

    def ask(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def predict(self, body, headers=()):
        status, content, _ = self.ask("POST", "/predict", body, headers)
        return status, json.loads(content)


class Service(Client):
    """`source`: a run or a model, or what is `Served` of it."""

    def __init__(self, source, timeout=5.0, most=8):
        served = source if isinstance(source, Served) else open_source(source, None, "auto")
        self.batches = Batches(served.make, most)
        self.batches.ready.wait()
        assert self.batches.failed is None
        model = Model(served.name, served.classes, served.transforms, served.whole, self.batches, served.thresholds)
        self.socket = bind("127.0.0.1", 0)
        super().__init__(self.socket.getsockname())
        config = uvicorn.Config(application(model, MOST, timeout), log_level="critical", access_log=False)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.should_exit = True
        self.thread.join()
        self.batches.close()
