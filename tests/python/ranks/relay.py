# SPDX-License-Identifier: Apache-2.0
"""A network of two ranks on one machine: what gloo sends passes a relay that delays it, limits its rate, and breaks or stops
its connections."""

import os
import queue
import socket
import struct
import threading
import time
from pathlib import Path

import torch.distributed as dist


class Link:
    """One direction of the network, which connections share.

    Args:
        delay: seconds until what was sent arrives.
        rate: bytes a second; None: no limit.
        stop_after: bytes after which nothing passes any more.
    """

    def __init__(self, delay=0.0, rate=None, stop_after=None):
        self.delay, self.rate, self.left = delay, rate, stop_after
        self._free = 0.0
        self._lock = threading.Lock()

    def departs(self, size):
        """When the last of so many bytes is through; None: never."""
        with self._lock:
            if self.left is not None:
                self.left -= size
                if self.left < 0:
                    return None
            start = max(time.monotonic(), self._free)
            self._free = start + (size / self.rate if self.rate else 0.0)
            return self._free


class Relay:
    """Listens for one rank, and passes on what comes. breaks: a link that stops closes its connections; else it is silent."""

    def __init__(self, listener, port, to, back, breaks):
        self._to, self._back, self._breaks, self._port = to, back, breaks, port
        self._listener = listener
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._port))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target, link in ((near, far, self._to), (far, near, self._back)):
                waiting = queue.Queue()
                threading.Thread(target=self._read, args=(source, target, link, waiting), daemon=True).start()
                threading.Thread(target=_deliver, args=(target, waiting), daemon=True).start()

    def _read(self, source, target, link, waiting):
        while data := _received(source):
            departs = link.departs(len(data))
            if departs is None:
                if self._breaks:
                    for end in (source, target):
                        _end(end)
                return
            waiting.put((departs + link.delay, data))
        waiting.put((0.0, b""))


def _received(source):
    try:
        return source.recv(16384)
    except OSError:
        return b""


def _end(connection):
    """Tells the other end. Closing does not, while another thread reads from the connection; it may have ended already."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _deliver(target, waiting):
    while True:
        due, data = waiting.get()
        if not data:
            _end(target)
            return
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            target.sendall(data)
        except OSError:
            return


def start(folder, links, breaks=False):
    """Relays between two ranks whose RelayedStores have this folder; links: from rank 0 to 1, and back."""
    ports = [int(_awaited(Path(folder, f"port-{rank}"))) for rank in range(2)]
    low, high = sorted(ports, key=_compared)
    for rank, near in enumerate(ports):
        below = near == low
        listener, port = _listener(lambda p: _compared(p) < _compared(high) if below else _compared(p) > _compared(low))
        to, back = links if rank == 1 else links[::-1]
        Relay(listener, near, to, back, breaks)
        _write(Path(folder, f"relay-{rank}"), str(port))


def _compared(port):
    """What gloo compares to decide who of two ranks on one host connects to the other: the bytes of the network's order, read
    in this machine's. Each rank compares its own port with the other's relay: the relays' ports keep the ranks' order."""
    (number,) = struct.unpack("=H", struct.pack(">H", port))
    return number


def _listener(fits):
    for port in filter(fits, range(65535, 1023, -1)):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(16)
            return listener, port
        except OSError:
            listener.close()
    raise OSError("relay: a port must be free; got none")


def _awaited(path):
    while not path.exists():
        time.sleep(0.01)
    return path.read_text()


def _write(path, text):
    part = path.with_suffix(".part")
    part.write_text(text)
    os.rename(part, path)


class RelayedStore(dist.Store):
    """A store in which each rank finds the relay's address instead of the other's.

    An address as gloo writes it: the length of a host's name, the name, the length of what follows, and a sockaddr, whose
    port is at 2.
    """

    def __init__(self, store, folder, rank):
        super().__init__()
        self._store, self._folder, self._rank = store, Path(folder), rank

    def set(self, key, value):
        if self._is_address(key):
            _write(self._folder / f"port-{self._rank}", str(_port(value)))
        return self._store.set(key, value)

    def get(self, key):
        value = self._store.get(key)
        other = key.rpartition("/")[2]
        if not self._is_address(key) or other == str(self._rank):
            return value
        at = _port_at(value)
        relay = int(_awaited(self._folder / f"relay-{other}"))
        return value[:at] + struct.pack(">H", relay) + value[at + 2:]

    def _is_address(self, key):
        return "cpu//" in key and key.rpartition("/")[2].isdigit()

    def add(self, key, number):
        return self._store.add(key, number)

    def wait(self, *arguments):
        return self._store.wait(*arguments)

    def check(self, keys):
        return self._store.check(keys)

    def delete_key(self, key):
        return self._store.delete_key(key)

    def set_timeout(self, timeout):
        return self._store.set_timeout(timeout)

    def has_extended_api(self):
        return False


def _port_at(value):
    (name,) = struct.unpack_from("<Q", value)
    return 8 + name + 8 + 2


def _port(value):
    return struct.unpack_from(">H", value, _port_at(value))[0]
