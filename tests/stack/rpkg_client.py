"""`rpkg`, the client behind fedpkg, started as its own script starts it: its wheel has none."""

from __future__ import annotations

import configparser
import logging
import os
import sys

import pyrpkg
import pyrpkg.cli

if __name__ == "__main__":
    config = configparser.ConfigParser()
    config.read(sys.argv[sys.argv.index("-C") + 1])
    client = pyrpkg.cli.cliClient(config, name="rpkg")
    client.do_imports()
    client.parse_cmdline()
    client.args.path = client.args.path or os.getcwd()
    client.setupLogging(pyrpkg.log)
    pyrpkg.log.setLevel(logging.INFO)
    sys.exit(client.args.command())
