"""What every test may ask for."""

import pytest
from hypothesis import settings

# A machine that is busy with other things is slow, not wrong: no example is timed.
settings.register_profile("blocktree", deadline=None)
settings.load_profile("blocktree")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="accept new scenario and vector output")
    parser.addoption(
        "--images",
        action="store_true",
        help="build SD-card images and boot them, although that takes half an hour",
    )


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite"))
