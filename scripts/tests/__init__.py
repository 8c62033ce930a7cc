"""This template's own tests. `support` is what they share; conftest.py has their fixtures."""

import pytest

# Its assertions show their values, as those of the tests do.
pytest.register_assert_rewrite(f"{__name__}.support")
