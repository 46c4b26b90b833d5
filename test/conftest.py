"""What all tests share."""

import signal

# Started in the background of a script, Python inherits SIGINT ignored, and so does every process that a test starts and
# means to interrupt. A handler of our own is not inherited: children begin with the default again.
signal.signal(signal.SIGINT, signal.default_int_handler)
