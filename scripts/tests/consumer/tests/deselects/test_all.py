def test_left_out_too():
    raise AssertionError
