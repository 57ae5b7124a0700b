"""What every test shares: a hypothesis profile that gives the same examples in every run."""

from collections import Counter

from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady",
    derandomize=True,  # a failure seen once is seen again
    deadline=None,  # machines that run tests are busy
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", parent=settings.get_profile("steady"), derandomize=False, max_examples=2000)
settings.load_profile("steady")


def pytest_collection_modifyitems(items):
    """Files with few tests first: these are the long ones, which start programs, and no worker is to begin one last."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: tests[item.path])
