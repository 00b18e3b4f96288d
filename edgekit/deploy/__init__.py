"""Deploying artifacts to boards over ssh: all or nothing, and back again."""

from edgekit.deploy.contents import stream_of
from edgekit.deploy.destination import Destination, destination
from edgekit.deploy.fleet import Result, destinations, on_each
from edgekit.deploy.install import Outcome, deploy, look
from edgekit.deploy.installed import Installed, Version
from edgekit.deploy.manage import Change, end_service, list_installed, remove, roll_back
from edgekit.deploy.probe import BoardFacts
from edgekit.deploy.service import check_source
from edgekit.deploy.tensorrt import Step, read_step
from edgekit.deploy.there import Wish

__all__ = [
    "BoardFacts",
    "Change",
    "Destination",
    "Installed",
    "Outcome",
    "Result",
    "Step",
    "Version",
    "Wish",
    "check_source",
    "deploy",
    "destination",
    "destinations",
    "end_service",
    "list_installed",
    "look",
    "on_each",
    "read_step",
    "remove",
    "roll_back",
    "stream_of",
]
