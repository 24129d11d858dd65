"""A mail server for tests: accepts every message and keeps each as a file N.eml. Usage: mailsink.py PORT FOLDER"""

import pathlib
import socketserver
import sys

FOLDER = pathlib.Path(sys.argv[2])


class Conversation(socketserver.StreamRequestHandler):
    timeout = 60

    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.say("220 sink ESMTP")
        while line := self.rfile.readline(4096):
            verb = line.decode("latin-1").strip().upper()
            if verb.startswith("EHLO"):
                self.say("250-sink")
                self.say("250-8BITMIME")
                self.say("250 SMTPUTF8")
            elif verb == "DATA":
                self.say("354 go ahead")
                self.keep()
                self.say("250 kept")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def keep(self):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        number = len(list(FOLDER.glob("*.eml"))) + 1
        draft = FOLDER / f"{number:03}.tmp"
        draft.write_bytes(b"".join(lines))
        draft.rename(FOLDER / f"{number:03}.eml")


socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", int(sys.argv[1])), Conversation).serve_forever()
