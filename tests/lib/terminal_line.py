"""A command on a terminal, with a hand that types: what `make bochs` is to a person."""

import os
import pty
import select
import subprocess
import time


class Terminal:
    """With what the machines' Live has of a line."""

    def __init__(self, argv, wall_seconds):
        ours, theirs = pty.openpty()
        self.line, self.text, self.seen = ours, b"", 0
        self.limit = time.monotonic() + wall_seconds
        self.process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)

    def wait_for(self, text):
        while text not in self.text[self.seen:]:
            if not select.select([self.line], [], [], max(0, self.limit - time.monotonic()))[0]:
                return False
            try:
                self.text += os.read(self.line, 65536).replace(b"\r", b"")
            except OSError:  # nobody has its other end any more
                return False
        self.seen = self.text.index(text, self.seen) + len(text)
        return True

    def send(self, data):
        for byte in data:  # Bochs drops what comes faster than its UART takes it
            os.write(self.line, bytes([byte]))
            time.sleep(0.01)

    def end(self):
        while self.wait_for(b"\n"):
            pass
        self.process.kill()
        self.process.wait()
        os.close(self.line)
        return self.text.decode("ascii", "replace")
