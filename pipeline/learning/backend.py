"""Keras on TensorFlow, imported without the start-up chatter of its native libraries.

TensorFlow's C++ side writes a dozen lines to stderr before any of its log settings count (set TF_CPP_MIN_LOG_LEVEL
yourself to see what it says later). Import keras from here, and only in rooms that train or export.
"""

import ctypes
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)


@contextmanager
def native_stderr_held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; it is shown only if the block fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _keep_freed_memory() -> None:
    """Have glibc keep what a training step frees, since the next step asks for as much.

    By itself it gives large blocks back to the system, which clears each page anew when it is touched again: nearly
    half of a training's time on a virtual machine. No weight depends on it.
    """
    with suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TOP_PAD, 2**26)  # the heaps of threads are of this size
        mallopt(M_MMAP_THRESHOLD, 2**25)  # the most that it takes
        mallopt(M_TRIM_THRESHOLD, 2**30)


_keep_freed_memory()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
if platform.machine() in ("x86_64", "AMD64"):
    # By itself it takes them on Linux where the processor has instructions for networks (AVX-512 VNNI, AVX-VNNI, AMX):
    # https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/util/port.cc. Elsewhere a step of a small
    # network takes 1.4 to 1.7 times as long without.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
with native_stderr_held_back():
    import keras
    import tensorflow

__all__ = ["keras", "native_stderr_held_back", "tensorflow"]

# Every network has graphs of its own: that several are traced is no fault, and nobody who trains can mend it.
tensorflow.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in str(record.msg))
