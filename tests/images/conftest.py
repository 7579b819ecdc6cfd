"""Where images are made for tests, and why long ones are left out."""

import pytest

from blocktree.fault import Fault
from blocktree_images.build.boards import load_board
from blocktree_images.build.pipeline import Pipeline
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.cache import Cache, default_root

_LONG = "makes and boots whole images (half an hour without a cache): tools/test --images"


@pytest.fixture(scope="session")
def cache() -> Cache:
    """The cache that `bt image build` uses: what it made is not made again."""
    return Cache(default_root())


@pytest.fixture(scope="session")
def toolbox(cache: Cache) -> Toolbox:
    """Debian's programs that make file systems; downloaded once, 120 MB."""
    try:
        return Pipeline(load_board("virt-arm64"), cache).toolbox
    except Fault as fault:
        pytest.skip(f"no toolbox here, and none to be had: {fault}")


@pytest.fixture
def pipeline(request: pytest.FixtureRequest, cache: Cache) -> Pipeline:
    """The pipeline of virt-arm64, if it may take half an hour or takes less."""
    made = Pipeline(load_board("virt-arm64"), cache)
    if not request.config.getoption("--images") and not made.warm():
        pytest.skip(_LONG)
    return made
