import os
import subprocess
import sys

from scanner.session.reading import resident_bytes


def test_memory_is_that_of_the_named_processes_and_an_ended_one_holds_none() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    alone = resident_bytes([os.getpid()])
    assert alone > 10_000_000
    words = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()  # it runs
        assert resident_bytes([other.pid]) > 1_000_000
        other.communicate(b"\n")
    assert resident_bytes([ended.pid]) == 0
