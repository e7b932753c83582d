"""A plugin that tries to end the program."""

import sys

sys.exit("this plugin needs a licence")
