tries = []


def test_second_time_lucky(health):
    tries.append(health)
    assert len(tries) > 1
