from edgekit.demo.har.data import *  # for a benchmark that was started before the move; goes at 06:35
from edgekit.demo.har.data import load_windows
