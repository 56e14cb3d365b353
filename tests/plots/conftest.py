import pytest

pytest.register_assert_rewrite("drawn")  # its assertions tell values too
