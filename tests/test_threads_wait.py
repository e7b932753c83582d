"""Threads of torch wait without spinning in processes that are ours, unless the user says otherwise."""

from halocline.cli.main import wait_passively


def test_threads_wait_passively_unless_told_how():
    environment = {}
    wait_passively(environment)
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE"}
    for own in ({"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "1000"}, {"KMP_BLOCKTIME": "0"}):
        told = dict(own)
        wait_passively(told)
        assert told == own
